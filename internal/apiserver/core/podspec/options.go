package podspec

// Options relaxes rules for the sake of objects that already exist: a rule
// that was tightened after an object was stored must not make that object
// impossible to update. The zero value is the strict rule for new templates.
type Options struct {
	// IsPod: the spec is a Pod's own and not a template's.
	IsPod bool

	// The rest is set from the stored object on an update (see Tolerating).
	AllowInvalidSelectorValues     bool // label values in affinity selectors
	AllowInvalidNodeAffinityValues bool // label values in required node affinity
	AllowInvalidSpreadSelector     bool // topologySpreadConstraints[*].labelSelector
	AllowIndivisibleHugePages      bool // no multiple of the page size
	AllowNonLocalTokenPath         bool // projected token outside its volume
	AllowInvalidDeletionCost       bool // annotation pod-deletion-cost
	AllowHostNamespaceSysctls      bool // net.* with hostNetwork, kernel.* IPC with hostIPC
	AllowEmptyImageVolume          bool // image volume without a reference
	AllowBlockWithUserNamespace    bool // volumeDevices with hostUsers: false
	AllowSysAdminUnprivileged      bool // CAP_SYS_ADMIN with allowPrivilegeEscalation: false
	AllowRestartResizeInInit       bool // RestartContainer resize policy on a plain init container
	UseLegacyMatchLabelKeys        bool // matchLabelKeys as before v1.34
}
