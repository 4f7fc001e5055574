package podlife

// Phase is how far a pod has come in its life on the node. It only goes forward,
// but for a lost sandbox, which sends a pod from Running back to Preparing.
//
//	Admitting ─▶ Preparing ─▶ Initializing ─▶ Running
//	    │            │ ▲            │ ▲         │ │
//	    │            │ └────────────┴─┼─────────┘ │   the sandbox was lost
//	    │            │                └───────────┘   all containers restart
//	    └────────────┴──────▶ Stopping ◀──────────┘   deleted, finished, evicted, …
//	                             │ no process left
//	                             ▼
//	                          Releasing                network, volumes, cgroup
//	                             │ nothing held
//	                             ▼
//	                            Done                   exit records and logs stay until deletion
type Phase string

// The phases, in order.
const (
	Admitting    Phase = "Admitting"
	Preparing    Phase = "Preparing"
	Initializing Phase = "Initializing"
	Running      Phase = "Running"
	Stopping     Phase = "Stopping"
	Releasing    Phase = "Releasing"
	Done         Phase = "Done"
)
