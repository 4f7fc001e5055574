// Package keeper is the contract between proa and proa-keeper, the small
// process that is the parent of every container of a node: the types, the wire
// format and the client. It never imports libcontainer; the keeper itself is
// in package server below, and an in-memory one in package fake.
//
//	proa ── Client ──unix socket R/keeper.sock──▶ server ──▶ oci (libcontainer)
//	                                                │
//	                                   pause, container processes (its children)
//
// A sandbox is the set of namespaces that the containers of a pod share, and
// the pause process in them:
//
//	(absent) ─StartSandbox─▶ Running ─StopSandbox, pause ends─▶ stopped ─RemoveSandbox─▶ (absent)
//
// A container is one process tree in a sandbox:
//
//	(absent) ─Create─▶ created ─Start─▶ running ─init ends─▶ exited ─Remove─▶ (absent)
//	                      └───────────start error──────────────▲
//
// The keeper owns R/keeper (state on disk) and the processes; every status is
// on disk before anybody is told of it. proa may die and dial again at any
// time. Should the keeper die, the containers go on, and the next keeper adopts
// them from R/keeper: it tells their exit code where the kernel can tell it
// (PIDFD_GET_INFO, from 6.15), and ExitKnown false where not.
package keeper
