// Package podcontrol is what all controllers of pods share: which pods are a
// controller's own, which it adopts and which it lets go, in which order it
// parts with them, and how it makes and deletes them with their events.
package podcontrol
