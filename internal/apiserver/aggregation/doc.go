// Package aggregation lets other servers answer for versions of API groups, as
// APIService objects say.
//
//	APIService ──▶ keeper (one goroutine each that names a Service)
//	                 │ every few seconds: is there an endpoint, does it answer?
//	                 ├──▶ status.conditions Available
//	                 ├──▶ routes ──▶ Handler: requests go there, as who they come from
//	                 └──▶ discovery: what it serves is listed with our own
//
// Nothing of it runs before there is such an APIService, and a request of our own
// groups costs one look into an empty map. local.go keeps the APIServices that
// stand for what this server answers itself.
package aggregation
