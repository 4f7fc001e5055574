package volumes

import (
	"strings"

	v1 "k8s.io/api/core/v1"
)

// zones are the labels by which volumes and nodes say where they are, each with
// what it is called today.
var zones = map[string]string{
	v1.LabelFailureDomainBetaZone:   v1.LabelTopologyZone,
	v1.LabelFailureDomainBetaRegion: v1.LabelTopologyRegion,
	v1.LabelTopologyZone:            v1.LabelTopologyZone,
	v1.LabelTopologyRegion:          v1.LabelTopologyRegion,
}

// severalZones separates the zones of a volume that is in more than one.
const severalZones = "__"

// inZone holds bound volumes' labels against a node's. A node that says nothing
// of itself is everywhere.
func (c *claims) inZone(node *v1.Node) bool {
	says := false
	for label := range zones {
		_, has := node.Labels[label]
		says = says || has
	}
	if !says {
		return true
	}
	for _, b := range c.bound {
		if b.volume == nil {
			continue
		}
		for label, today := range zones {
			want, has := b.volume.Labels[label]
			if has && !inOne(want, node, label, today) {
				return false
			}
		}
	}
	return true
}

func inOne(want string, node *v1.Node, names ...string) bool {
	for _, name := range names {
		have, says := node.Labels[name]
		if !says {
			continue
		}
		for zone := range strings.SplitSeq(want, severalZones) {
			if zone == have {
				return true
			}
		}
		return false
	}
	return false
}
