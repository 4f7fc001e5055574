package alloc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/util/dryrun"

	"github.com/proa-project/proa/internal/apiserver/core"
)

// Services is what happens around the writing of a Service.
type Services struct {
	Addresses *Addresses
	Ports     *Ports
	Families  []corev1.IPFamily // of the cluster, the primary one first
	Log       *slog.Logger
}

// Giving back must not fail with the request that caused it.
const releaseTimeout = 10 * time.Second

// BeginCreate allocates for a new service.
func (a *Services) BeginCreate(ctx context.Context, obj runtime.Object, o *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
	s := obj.(*corev1.Service)
	core.SyncClusterIPs(s, nil)
	return a.begin(ctx, s, nil, dryrun.IsDryRun(o.DryRun))
}

// BeginUpdate allocates what a change needs, and plans to release what it frees.
func (a *Services) BeginUpdate(ctx context.Context, obj, old runtime.Object, o *metav1.UpdateOptions) (genericregistry.FinishFunc, error) {
	s, was := obj.(*corev1.Service), old.(*corev1.Service)
	core.KeepAllocated(s, was)
	core.SyncClusterIPs(s, was)
	return a.begin(ctx, s, was, dryrun.IsDryRun(o.DryRun))
}

// AfterDelete gives back all that a service had.
func (a *Services) AfterDelete(obj runtime.Object, o *metav1.DeleteOptions) {
	if dryrun.IsDryRun(o.DryRun) {
		return
	}
	t := &transaction{a: a}
	s := obj.(*corev1.Service)
	t.freed.ips, t.freed.ports = addressesOf(s), portsOf(s)
	t.finish(context.Background(), true)
}

// transaction is what was taken for a write and what it frees.
type transaction struct {
	a            *Services
	taken, freed holding
}

type holding struct {
	ips   []string
	ports []int
}

func (a *Services) begin(ctx context.Context, s, old *corev1.Service, dry bool) (genericregistry.FinishFunc, error) {
	if errs := core.ResolveFamilies(s, old, a.Families); len(errs) > 0 {
		return nil, invalid(s, errs)
	}
	t := &transaction{a: a}
	if err := t.allocate(ctx, s, old, dry); err != nil {
		t.finish(ctx, false)
		return nil, err
	}
	if old != nil {
		now := holding{addressesOf(s), portsOf(s)}
		t.freed.ips = slices.DeleteFunc(addressesOf(old), func(ip string) bool { return slices.Contains(now.ips, ip) })
		t.freed.ports = slices.DeleteFunc(portsOf(old), func(p int) bool { return slices.Contains(now.ports, p) })
	}
	if dry {
		return func(context.Context, bool) {}, nil
	}
	return t.finish, nil
}

// finish releases what was freed by a write that succeeded, or taken for one that didn't.
func (t *transaction) finish(_ context.Context, success bool) {
	h := t.taken
	if success {
		h = t.freed
	}
	if len(h.ips) == 0 && len(h.ports) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if err := errors.Join(t.a.Addresses.Release(ctx, h.ips...), t.a.Ports.Release(ctx, h.ports...)); err != nil {
		t.a.Log.Error("service addresses or ports stay taken until the next start", "ips", h.ips, "ports", h.ports, "err", err)
	}
}

func (t *transaction) allocate(ctx context.Context, s, old *corev1.Service, dry bool) error {
	if err := t.allocateAddresses(ctx, s, old, dry); err != nil {
		return err
	}
	if core.NeedsNodePorts(s) {
		if err := t.allocatePorts(ctx, s, old, dry); err != nil {
			return err
		}
	}
	return t.allocateHealthPort(ctx, s, old, dry)
}

func (t *transaction) allocateAddresses(ctx context.Context, s, old *corev1.Service, dry bool) error {
	if !core.NeedsClusterIP(s) {
		return nil
	}
	if s.Spec.ClusterIP == corev1.ClusterIPNone {
		s.Spec.ClusterIPs = []string{corev1.ClusterIPNone}
		return nil
	}
	var had []string
	if old != nil {
		had = addressesOf(old)
	}
	for i, family := range s.Spec.IPFamilies {
		if i < len(s.Spec.ClusterIPs) && s.Spec.ClusterIPs[i] != "" {
			if err := t.takeAddress(ctx, s, s.Spec.ClusterIPs[i], had, dry); err != nil {
				return err
			}
			continue
		}
		ip, err := t.a.Addresses.TakeAny(ctx, family == corev1.IPv4Protocol, s, dry)
		if errors.Is(err, errRangeFull) {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP for Service %q: %w", s.Name, err))
		}
		if err != nil {
			return invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "clusterIPs"), s.Spec.ClusterIPs, fmt.Sprintf("failed to allocate IP: %v", err))})
		}
		t.took(ip.String(), dry)
		if i < len(s.Spec.ClusterIPs) {
			s.Spec.ClusterIPs[i] = ip.String()
		} else {
			s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, ip.String())
		}
	}
	if len(s.Spec.ClusterIPs) > 0 {
		s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	}
	return nil
}

func (t *transaction) takeAddress(ctx context.Context, s *corev1.Service, text string, had []string, dry bool) error {
	if slices.Contains(had, text) {
		return nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return nil // the check of the object says so better
	}
	if err := t.a.Addresses.Take(ctx, ip, s, dry); err != nil {
		return invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "clusterIPs"), s.Spec.ClusterIPs, fmt.Sprintf("failed to allocate IP %v: %v", text, err))})
	}
	t.took(ip.String(), dry)
	return nil
}

func (t *transaction) took(ip string, dry bool) {
	if !dry {
		t.taken.ips = append(t.taken.ips, ip)
	}
}

// allocatePorts: one port may serve two protocols of one service.
func (t *transaction) allocatePorts(ctx context.Context, s, old *corev1.Service, dry bool) error {
	have := map[int]bool{}
	if old != nil {
		for _, p := range portsOf(old) {
			have[p] = true
		}
	}
	byPort := map[int32]int32{} // service port → node port, to share it across protocols
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		switch shared := byPort[p.Port]; {
		case p.NodePort == 0 && !core.WantsNodePorts(s):
			continue
		case p.NodePort == 0 && shared != 0 && !usesProtocol(s.Spec.Ports[:i], p.Protocol, shared):
			p.NodePort = shared
		case have[int(p.NodePort)]:
		default:
			port, err := t.a.Ports.Take(ctx, int(p.NodePort), s.Namespace+"/"+s.Name, dry)
			if err != nil && p.NodePort != 0 {
				return invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), p.NodePort, err.Error())})
			}
			if err != nil {
				return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
			}
			if !dry {
				t.taken.ports = append(t.taken.ports, port)
			}
			have[port] = true
			p.NodePort = int32(port)
		}
		byPort[p.Port] = p.NodePort
	}
	return nil
}

func usesProtocol(ports []corev1.ServicePort, protocol corev1.Protocol, nodePort int32) bool {
	return slices.ContainsFunc(ports, func(p corev1.ServicePort) bool { return p.NodePort == nodePort && p.Protocol == protocol })
}

func (t *transaction) allocateHealthPort(ctx context.Context, s, old *corev1.Service, dry bool) error {
	if !core.NeedsHealthPort(s) {
		return nil
	}
	if old != nil && core.NeedsHealthPort(old) && old.Spec.HealthCheckNodePort == s.Spec.HealthCheckNodePort {
		return nil
	}
	port, err := t.a.Ports.Take(ctx, int(s.Spec.HealthCheckNodePort), s.Namespace+"/"+s.Name, dry)
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %v: %w", s.Spec.HealthCheckNodePort, err))
	}
	if !dry {
		t.taken.ports = append(t.taken.ports, port)
	}
	s.Spec.HealthCheckNodePort = int32(port)
	return nil
}

func addressesOf(s *corev1.Service) (ips []string) {
	if !core.NeedsClusterIP(s) || core.Headless(s) {
		return nil
	}
	for _, text := range s.Spec.ClusterIPs {
		if ip, err := netip.ParseAddr(text); err == nil {
			ips = append(ips, ip.String())
		}
	}
	return ips
}

func portsOf(s *corev1.Service) (ports []int) {
	if core.NeedsNodePorts(s) {
		for _, p := range s.Spec.Ports {
			if n := int(p.NodePort); n != 0 && !slices.Contains(ports, n) {
				ports = append(ports, n)
			}
		}
	}
	if n := int(s.Spec.HealthCheckNodePort); n != 0 && core.NeedsHealthPort(s) {
		ports = append(ports, n)
	}
	return ports
}

// Owners are the node ports that services have, for Ports.Repair.
func Owners(services []*corev1.Service) map[int]string {
	owners := map[int]string{}
	for _, s := range services {
		for _, p := range portsOf(s) {
			owners[p] = s.Namespace + "/" + s.Name
		}
	}
	return owners
}

func invalid(s *corev1.Service, errs field.ErrorList) error {
	return apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, s.Name, errs)
}
