package core

import (
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// Endpoints list where a service's traffic goes; EndpointSlices replace them.
func endpoints() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "endpoints",
		Singular:     "endpoints",
		Kind:         "Endpoints",
		ShortNames:   []string{"ep"},
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.Endpoints{} },
		NewList:      func() runtime.Object { return &corev1.EndpointsList{} },
		Default:      meta.Default(defaultEndpoints),
		Check:        meta.Check(checkEndpoints),
		Warn:         meta.Warn(warnEndpoints),
		Update: resource.Update{
			CheckUpdate:    meta.CheckUpdate(checkEndpointsUpdate),
			WarnUpdate:     meta.WarnUpdate(func(e, _ *corev1.Endpoints) []string { return warnEndpoints(e) }),
			Unconditional:  true,
			CreateOnUpdate: true,
		},
		Columns: meta.Table(meta.Name(), meta.String("Endpoints", corev1.Endpoints{}.SwaggerDoc()["subsets"]), meta.Created()),
		Row: meta.Row(func(e *corev1.Endpoints, now metav1.Time) []any {
			return []any{e.Name, endpointsCell(e), meta.Age(e.CreationTimestamp, now)}
		}),
	}
}

func defaultEndpoints(e *corev1.Endpoints) {
	for i := range e.Subsets {
		for j := range e.Subsets[i].Ports {
			if port := &e.Subsets[i].Ports[j]; port.Protocol == "" {
				port.Protocol = corev1.ProtocolTCP
			}
		}
	}
}

func checkEndpoints(e *corev1.Endpoints) field.ErrorList {
	return append(checkLastChange(e), checkSubsets(field.NewPath("subsets"), e.Subsets)...)
}

// checkEndpointsUpdate lets subsets stay that were stored under other rules.
func checkEndpointsUpdate(e, old *corev1.Endpoints) field.ErrorList {
	errs := checkSubsets(field.NewPath("subsets"), e.Subsets)
	if len(errs) > 0 && equality.Semantic.DeepEqual(e.Subsets, old.Subsets) {
		errs = nil
	}
	return append(checkLastChange(e), errs...)
}

// checkLastChange checks the one annotation that is read as a value.
func checkLastChange(e *corev1.Endpoints) field.ErrorList {
	value, set := e.Annotations[corev1.EndpointsLastChangeTriggerTime]
	if !set {
		return nil
	}
	var stamp metav1.Time
	if err := stamp.UnmarshalQueryParameter(value); err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("annotations").Child(corev1.EndpointsLastChangeTriggerTime), value, err.Error())}
	}
	return nil
}

func checkSubsets(path *field.Path, subsets []corev1.EndpointSubset) field.ErrorList {
	var errs field.ErrorList
	for i, subset := range subsets {
		at := path.Index(i)
		if len(subset.Addresses)+len(subset.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(at, "must specify `addresses` or `notReadyAddresses`"))
		}
		errs = append(errs, checkEndpointAddresses(at.Child("addresses"), subset.Addresses)...)
		errs = append(errs, checkEndpointAddresses(at.Child("notReadyAddresses"), subset.NotReadyAddresses)...)
		for j, port := range subset.Ports {
			errs = append(errs, checkEndpointPort(at.Child("ports").Index(j), port, len(subset.Ports) > 1)...)
		}
	}
	return errs
}

func checkEndpointAddresses(path *field.Path, addresses []corev1.EndpointAddress) field.ErrorList {
	var errs field.ErrorList
	for i, address := range addresses {
		at := path.Index(i)
		errs = append(errs, meta.IP(at.Child("ip"), address.IP)...)
		if address.Hostname != "" {
			errs = append(errs, meta.DNSLabel(at.Child("hostname"), address.Hostname)...)
		}
		if node := address.NodeName; node != nil {
			errs = append(errs, meta.Invalid(at.Child("nodeName"), *node, apivalidation.NameIsDNSSubdomain(*node, false))...)
		}
		errs = append(errs, meta.EndpointIP(at.Child("ip"), address.IP)...)
	}
	return errs
}

func checkEndpointPort(path *field.Path, port corev1.EndpointPort, named bool) field.ErrorList {
	var errs field.ErrorList
	if port.Name != "" {
		errs = append(errs, meta.DNSLabel(path.Child("name"), port.Name)...)
	} else if named {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	errs = append(errs, meta.Port(path.Child("port"), port.Port)...)
	errs = append(errs, meta.OneOf(path.Child("protocol"), port.Protocol, transportProtocols...)...)
	if port.AppProtocol != nil {
		errs = append(errs, meta.QualifiedName(path.Child("appProtocol"), *port.AppProtocol)...)
	}
	return errs
}

// warnEndpoints tells of addresses in an odd notation, except to the controller,
// which writes only good ones and many of them.
func warnEndpoints(e *corev1.Endpoints) []string {
	if e.Labels["endpoints.kubernetes.io/managed-by"] == "endpoint-controller" {
		return nil
	}
	var warnings []string
	path := field.NewPath("subsets")
	for i, subset := range e.Subsets {
		for j, address := range subset.Addresses {
			warnings = append(warnings, validation.GetWarningsForIP(path.Index(i).Child("addresses").Index(j).Child("ip"), address.IP)...)
		}
		for j, address := range subset.NotReadyAddresses {
			warnings = append(warnings, validation.GetWarningsForIP(path.Index(i).Child("notReadyAddresses").Index(j).Child("ip"), address.IP)...)
		}
	}
	return warnings
}

// endpointsCell shows the first three endpoints. Ports come before addresses, as
// they always have.
func endpointsCell(e *corev1.Endpoints) string {
	if len(e.Subsets) == 0 {
		return meta.None
	}
	const shown = 3
	var cells []string
	for _, subset := range e.Subsets {
		if len(subset.Ports) == 0 { // a headless service may have none
			for _, address := range subset.Addresses {
				cells = append(cells, address.IP)
			}
		}
		for _, port := range subset.Ports {
			for _, address := range subset.Addresses {
				cells = append(cells, net.JoinHostPort(address.IP, strconv.Itoa(int(port.Port))))
			}
		}
	}
	return meta.FirstOf(cells, shown)
}
