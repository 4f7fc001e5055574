// Package meta is what the API groups' folders share: adapters that lift
// functions over a concrete kind to the untyped hooks of resource.Resource, the
// columns and cells of kubectl's tables, and checks that many kinds have in common.
//
// A kind's file reads top to bottom as: its Resource value, its defaults, what
// is prepared and checked at creation, what an update may change, its row. All
// of it is pure; whatever needs state (allocation of cluster IPs, who may sign)
// belongs to the server.
//
// What every kind does alike, the server does: at creation it clears a status
// that has a subresource, at an update it puts back what Reset names, it counts
// generations, and it checks metadata (name by CheckName, labels, owners,
// immutable uid …). Checks here start at the kind's own fields.
package meta
