package podlife

// ephemeral starts each ephemeral container once, whatever else the pod does.
func (d *decision) ephemeral() {
	for _, v := range d.of(Ephemeral) {
		switch {
		case v.alive():
			d.drive(v, true)
		case v.inst == nil:
			d.start(v, "a user asked for it")
		case v.inst.State == Created:
			d.start(v, "a user asked for it")
		}
	}
}
