// Package shutdown ends the node's pods in order before the machine goes down:
// the least important first, each group with its share of the time that there is.
//
// In: the pods, the steps that the node's settings name, and the news that the
// machine goes down (from logind, a signal, or a command). Out: ends of pods, the
// node's condition, and the answer that the machine may go down now.
//
//	plan.go      PURE: priorities and graces → Steps; pods → Groups
//	manager.go   the shell: group after group, waiting for each
//	logind.go    systemd-logind: a lock that delays the shutdown, and its signal
//
//	idle ──Shutdown──▶ ending group 1 ─▶ … ─▶ ending group n ─▶ done
//	  ▲                                                          │
//	  └──────────────────Resume (the shutdown was called off)────┘
package shutdown
