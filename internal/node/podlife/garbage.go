package podlife

// collectGarbage removes ended instances beyond those kept for `logs --previous`,
// and sandboxes that nothing refers to.
func (d *decision) collectGarbage() {
	if d.mem.Stop != nil || !d.mem.Admitted || d.mem.RestartAll != nil {
		return
	}
	used := map[string]bool{}
	kept := map[string]int{}
	for _, v := range d.views {
		if v.seen {
			used[v.inst.SandboxID] = true
		}
	}
	for _, inst := range d.strays() {
		v := d.view(inst.Name)
		switch {
		case inst.Alive():
			d.stopStrays(d.in.Now.Add(d.grace()), "a newer instance of the container exists, or none is wanted")
			used[inst.SandboxID] = true
		case v != nil && inst.State == Exited && kept[inst.Name] < d.in.Policy.KeepDead:
			kept[inst.Name]++
			used[inst.SandboxID] = true
		default:
			d.remove(inst, "newer ones of it are kept")
			used[inst.SandboxID] = true
		}
	}
	current := d.sandbox()
	for _, s := range d.in.Observed.Sandboxes {
		if d.wasStopped(s.ID) && !used[s.ID] && current != nil && s.ID != current.ID && s.Attempt < current.Attempt {
			d.act(Action{ID: "remove-sandbox:" + s.ID, Kind: RemoveSandbox, SandboxID: s.ID, Why: "a newer one took its place"})
		}
	}
}

func (d *decision) remove(inst Instance, why string) {
	d.act(Action{
		ID: "remove:" + inst.ID, Kind: RemoveContainer, Container: inst.Name, ContainerID: inst.ID, Why: why,
	})
}
