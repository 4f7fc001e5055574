package podlife

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
)

// image makes sure of the image for the container's next instance; true when it
// can be used.
func (d *decision) image(v *view, attempt int) bool {
	m := &v.mem.Image
	if m.Image != v.spec.Image {
		*m = ImageMemory{Image: v.spec.Image}
	}
	if m.Ref != "" && m.Attempt == attempt {
		return true
	}
	d.pull(m, Action{
		ID: fmt.Sprintf("pull:%s:%d:%s", v.spec.Name, attempt, v.spec.Image), Kind: PullImage,
		Container: v.spec.Name, Image: v.spec.Image, Attempt: uint32(attempt),
		Why: fmt.Sprintf("imagePullPolicy %s", v.spec.ImagePullPolicy),
	})
	return false
}

// pull asks for the image, unless a failure is too recent.
func (d *decision) pull(m *ImageMemory, a Action) {
	if m.Error == nil || !d.in.Now.Before(m.RetryAt) {
		if m.Error != nil {
			a.Why += fmt.Sprintf("; try %d, after: %s", m.Failures+1, m.Error.Message)
		}
		d.act(a)
		return
	}
	d.wait(subject(a), fmt.Sprintf("another try to pull %s, which failed: %s", a.Image, m.Error.Message), m.RetryAt)
	d.hint(m.Error.Hint)
	if m.BackOff || !backsOff(m.Error.Reason) {
		return
	}
	if shown := m.FailedAt.Add(d.in.Policy.ErrorShown); d.in.Now.Before(shown) {
		d.wake(shown)
		return
	}
	m.BackOff = true
	d.event(false, a.Container, "BackOff", "Back-off pulling image %q", a.Image)
	d.event(true, a.Container, "Failed", "Error: ImagePullBackOff")
}

// backsOff: the other failures keep their own reason, being no fault of a pull.
func backsOff(reason string) bool {
	switch reason {
	case "ErrImageNeverPull", "InvalidImageName", "ImageInspectError":
		return false
	}
	return true
}

// waiting is what a container shows that waits for this image.
func (m ImageMemory) waiting() *Waiting {
	if m.Error == nil || !m.BackOff {
		return m.Error
	}
	return &Waiting{
		Reason:  "ImagePullBackOff",
		Message: fmt.Sprintf("Back-off pulling image %q: %s: %s", m.Image, m.Error.Reason, m.Error.Message),
	}
}

// imageVolumes makes sure of the images that are volumes; true when all can be used.
func (d *decision) imageVolumes() bool {
	ready := true
	for i := range d.in.Pod.Spec.Volumes {
		vol := &d.in.Pod.Spec.Volumes[i]
		if vol.Image == nil {
			continue
		}
		m := d.mem.Volumes[vol.Name]
		if m.Ref == "" {
			ready = false
			d.pull(&m, Action{
				ID: "pull-volume:" + vol.Name, Kind: PullImage, Volume: vol.Name, Image: vol.Image.Reference,
				Why: fmt.Sprintf("it is a volume, pullPolicy %s", vol.Image.PullPolicy),
			})
			d.mem.Volumes[vol.Name] = m
		}
	}
	return ready
}

// volumeWaiting is the waiting state that a failed image volume causes.
func (d *decision) volumeWaiting(c *v1.Container) *Waiting {
	for _, mount := range c.VolumeMounts {
		if m, ok := d.mem.Volumes[mount.Name]; ok && m.Ref == "" {
			if w := m.waiting(); w != nil {
				return w
			}
		}
	}
	return nil
}

// ready tells whether a container could be started, but for its image.
func (d *decision) ready(subject string) bool {
	switch {
	case d.sandbox() == nil:
		d.wait(subject, "the sandbox", time.Time{})
	case d.in.Observed.Volumes != Present:
		d.wait(subject, "the volumes", time.Time{})
	default:
		return true
	}
	return false
}
