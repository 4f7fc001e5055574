package alloc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Objects creates and deletes IPAddress objects.
type Objects interface {
	Create(ctx context.Context, obj *networkingv1.IPAddress, o *metav1.CreateOptions) error
	Delete(ctx context.Context, name string) error
}

// Addresses takes cluster addresses by creating their IPAddress objects.
type Addresses struct {
	Objects Objects
	// Ranges are the service ranges of the cluster, the configured ones first.
	Ranges func(ctx context.Context) ([]netip.Prefix, error)
}

var (
	errAddressTaken = errors.New("provided IP is already allocated")
	errRangeFull    = errors.New("range is full")
)

type errNotInRange struct {
	ip     string
	ranges string
}

func (e errNotInRange) Error() string {
	return fmt.Sprintf("the provided IP (%v) is not in the valid range. The range of valid IPs is %s", e.ip, e.ranges)
}

// managedBy is what stock tools look for on addresses of the built-in allocator.
const managedBy = "ipallocator.k8s.io"

// Take gives the service the address.
func (a *Addresses) Take(ctx context.Context, ip netip.Addr, s *corev1.Service, dry bool) error {
	ranges, err := a.family(ctx, ip.Is4())
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if given(r, ip) {
			return a.create(ctx, ip, s, dry)
		}
	}
	text := ""
	for i, r := range ranges {
		if i > 0 {
			text += ","
		}
		text += r.String()
	}
	return errNotInRange{ip.String(), text}
}

// TakeAny gives the service a free address of a family.
func (a *Addresses) TakeAny(ctx context.Context, v4 bool, s *corev1.Service, dry bool) (netip.Addr, error) {
	ranges, err := a.family(ctx, v4)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, r := range ranges {
		for ip := range candidates(r, rand.Uint64N) {
			switch err := a.create(ctx, ip, s, dry); {
			case err == nil:
				return ip, nil
			case !errors.Is(err, errAddressTaken):
				return netip.Addr{}, err
			}
		}
	}
	return netip.Addr{}, errRangeFull
}

func (a *Addresses) family(ctx context.Context, v4 bool) (out []netip.Prefix, err error) {
	ranges, err := a.Ranges(ctx)
	for _, r := range ranges {
		if r.Addr().Is4() == v4 {
			out = append(out, r)
		}
	}
	return out, err
}

func (a *Addresses) create(ctx context.Context, ip netip.Addr, s *corev1.Service, dry bool) error {
	family := corev1.IPv4Protocol
	if ip.Is6() {
		family = corev1.IPv6Protocol
	}
	o := &metav1.CreateOptions{}
	if dry {
		o.DryRun = []string{metav1.DryRunAll}
	}
	err := a.Objects.Create(ctx, &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: ip.String(), Labels: map[string]string{
			networkingv1.LabelIPAddressFamily: string(family), networkingv1.LabelManagedBy: managedBy,
		}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: s.Namespace, Name: s.Name}},
	}, o)
	if apierrors.IsAlreadyExists(err) {
		return errAddressTaken
	}
	return err
}

// Release gives addresses back.
func (a *Addresses) Release(ctx context.Context, ips ...string) error {
	var errs []error
	for _, ip := range ips {
		if err := a.Objects.Delete(ctx, ip); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("release address %s: %w", ip, err))
		}
	}
	return errors.Join(errs...)
}
