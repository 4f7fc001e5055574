// Package convert has the conversions between the two Go types that a few
// kinds have: one is the hub (stored, validated), the other is converted on the wire.
package convert
