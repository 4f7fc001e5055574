package apiserver

import (
	"context"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/apiserver/alloc"
	"github.com/proa-project/proa/internal/apiserver/objects"
	"github.com/proa-project/proa/internal/apiserver/registry"
)

const portsKey = registry.Prefix + "/proa/nodeports"

type serviceAllocation struct {
	*alloc.Services
	store *registry.Store
}

func (s *Server) serviceAllocation() serviceAllocation {
	ports := &alloc.Ports{Client: s.config.Etcd, Key: portsKey, First: s.config.NodePorts.First, Last: s.config.NodePorts.Last}
	a := &alloc.Services{
		Addresses: &alloc.Addresses{Objects: addressObjects{direct{s}}, Ranges: s.serviceRanges},
		Ports:     ports,
		Families:  families(s.config.ServiceCIDRs),
		Log:       s.log,
	}
	s.ports = ports
	return serviceAllocation{a, s.stores["services"]}
}

func families(ranges []netip.Prefix) (out []corev1.IPFamily) {
	for _, r := range ranges {
		if r.Addr().Is4() {
			out = append(out, corev1.IPv4Protocol)
		} else {
			out = append(out, corev1.IPv6Protocol)
		}
	}
	return out
}

// serviceRanges are the configured ranges and those of ServiceCIDR objects.
func (s *Server) serviceRanges(ctx context.Context) ([]netip.Prefix, error) {
	ranges := slices.Clone(s.config.ServiceCIDRs)
	cidrs, err := list[*networkingv1.ServiceCIDR](ctx, s, "servicecidrs.networking.k8s.io", "")
	if err != nil {
		return nil, err
	}
	for _, c := range cidrs {
		if c.DeletionTimestamp != nil || slices.ContainsFunc(c.Status.Conditions, func(c metav1.Condition) bool {
			return c.Type == networkingv1.ServiceCIDRConditionReady && c.Status == metav1.ConditionFalse
		}) {
			continue
		}
		for _, text := range c.Spec.CIDRs {
			if p, err := netip.ParsePrefix(text); err == nil && !slices.Contains(ranges, p) {
				ranges = append(ranges, p)
			}
		}
	}
	return ranges, nil
}

// repairPorts makes the record of node ports agree with the services.
func (s *Server) repairPorts(ctx context.Context) error {
	services, err := objects.List[*corev1.Service](ctx, s.stores["services"], "")
	if err != nil {
		return err
	}
	return s.ports.Repair(ctx, alloc.Owners(services))
}

// addressObjects keeps taken addresses as IPAddress objects.
type addressObjects struct{ d direct }

const addressesResource = "ipaddresses.networking.k8s.io"

func (a addressObjects) Create(ctx context.Context, obj *networkingv1.IPAddress, o *metav1.CreateOptions) error {
	_, err := a.d.create(ctx, addressesResource, obj, o)
	return err
}

func (a addressObjects) Delete(ctx context.Context, name string) error {
	return a.d.delete(ctx, addressesResource, "", name)
}
