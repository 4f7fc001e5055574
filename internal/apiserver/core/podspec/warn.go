package podspec

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// warner gathers what is allowed but probably not meant. at is the path of the
// object that has metadata and spec: nil for a pod, "spec.template" of a Deployment.
type warner struct {
	at          *field.Path
	annotations map[string]string
	spec        *v1.PodSpec
	warnings    []string
}

// Warnings returns what to tell the author of a new pod (at nil) or template.
func Warnings(spec *v1.PodSpec, annotations map[string]string, at *field.Path) []string {
	w := &warner{at: at, annotations: annotations, spec: spec}
	w.nodeLabels()
	w.deprecatedAnnotations()
	w.volumes()
	w.virtualPaths()
	w.duplicates()
	w.overhead()
	w.containers()
	w.ports()
	w.portNames()
	if g := spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		w.add(w.in("terminationGracePeriodSeconds"), "must be >= 0; negative values are invalid and will be treated as 1")
	}
	w.affinity()
	w.addresses()
	return w.warnings
}

// WarningsForTemplate is Warnings for a template at the given path.
func WarningsForTemplate(template *v1.PodTemplateSpec, at *field.Path) []string {
	return Warnings(&template.Spec, template.Annotations, at)
}

func (w *warner) in(names ...string) *field.Path { return w.at.Child("spec", names...) }

func (w *warner) annotation(key string) *field.Path {
	return w.at.Child("metadata", "annotations").Key(key)
}

func (w *warner) add(path *field.Path, format string, args ...any) {
	w.warnings = append(w.warnings, path.String()+": "+fmt.Sprintf(format, args...))
}

var deprecatedNodeLabels = map[string]string{
	"beta.kubernetes.io/arch":                       `deprecated since v1.14; use "kubernetes.io/arch" instead`,
	"beta.kubernetes.io/os":                         `deprecated since v1.14; use "kubernetes.io/os" instead`,
	"failure-domain.beta.kubernetes.io/region":      `deprecated since v1.17; use "topology.kubernetes.io/region" instead`,
	"failure-domain.beta.kubernetes.io/zone":        `deprecated since v1.17; use "topology.kubernetes.io/zone" instead`,
	"beta.kubernetes.io/instance-type":              `deprecated since v1.17; use "node.kubernetes.io/instance-type" instead`,
	"app.kubernetes.io/created-by":                  "deprecated since v1.9",
	"scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
	"node-role.kubernetes.io/master":                `use "node-role.kubernetes.io/control-plane" instead`,
}

func (w *warner) nodeLabels() {
	for _, key := range meta.Sorted(w.spec.NodeSelector) {
		if message, is := deprecatedNodeLabels[key]; is {
			w.add(w.in("nodeSelector").Key(key), "%s", message)
		}
	}
	if a := w.spec.Affinity; a != nil && a.NodeAffinity != nil {
		if must := requiredNodes(w.spec); must != nil {
			for i, term := range must.NodeSelectorTerms {
				w.nodeTerm(term, w.in("affinity", "nodeAffinity", required, "nodeSelectorTerms").Index(i), false)
			}
		}
		for i, wish := range a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
			w.nodeTerm(wish.Preference, w.in("affinity", "nodeAffinity", preferred).Index(i).Child("preference"), true)
		}
	}
	for i, c := range w.spec.TopologySpreadConstraints {
		at := w.in("topologySpreadConstraints").Index(i)
		if message, is := deprecatedNodeLabels[c.TopologyKey]; is {
			w.add(at.Child("topologyKey"), "%s is %s", c.TopologyKey, message)
		}
		if c.LabelSelector == nil {
			w.add(at.Child("labelSelector"), "a null labelSelector results in matching no pod")
		}
	}
}

func (w *warner) nodeTerm(term v1.NodeSelectorTerm, at *field.Path, values bool) {
	for i, e := range term.MatchExpressions {
		path := at.Child("matchExpressions").Index(i)
		if message, is := deprecatedNodeLabels[e.Key]; is {
			w.add(path.Child("key"), "%s is %s", e.Key, message)
		}
		if !values {
			continue
		}
		for j, value := range e.Values {
			for _, message := range validation.IsValidLabelValue(value) {
				w.add(path.Child("values").Index(j), "%s is invalid, %s", value, message)
			}
		}
	}
}

func (w *warner) deprecatedAnnotations() {
	for _, a := range []struct{ key, message string }{
		{"scheduler.alpha.kubernetes.io/critical-pod", `non-functional in v1.16+; use the "priorityClassName" field instead`},
		{"security.alpha.kubernetes.io/sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
		{"security.alpha.kubernetes.io/unsafe-sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
	} {
		if _, set := w.annotations[a.key]; set {
			w.add(w.annotation(a.key), "%s", a.message)
		}
	}
}

func (w *warner) volumes() {
	for i := range w.spec.Volumes {
		v, at := &w.spec.Volumes[i], w.in("volumes").Index(i)
		for _, d := range []struct {
			set           bool
			name, message string
		}{
			{v.PhotonPersistentDisk != nil, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
			{v.GitRepo != nil, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
			{v.ScaleIO != nil, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
			{v.Flocker != nil, "flocker", "deprecated in v1.22, non-functional in v1.25+"},
			{v.StorageOS != nil, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
			{v.Quobyte != nil, "quobyte", "deprecated in v1.22, non-functional in v1.25+"},
			{v.Glusterfs != nil, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
			{v.CephFS != nil, "cephfs", "deprecated in v1.28, non-functional in v1.31+"},
			{v.RBD != nil, "rbd", "deprecated in v1.28, non-functional in v1.31+"},
		} {
			if d.set {
				w.add(at.Child(d.name), "%s", d.message)
			}
		}
		if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
			r := v.Ephemeral.VolumeClaimTemplate.Spec.Resources
			path := at.Child("ephemeral", "volumeClaimTemplate", "spec", "resources")
			w.fractional(r.Requests, path.Child("requests"), v1.ResourceStorage)
			w.fractional(r.Limits, path.Child("limits"), v1.ResourceStorage)
		}
	}
}

// fractional: parts of a byte are most often a typo ("1m" for "1M").
func (w *warner) fractional(list v1.ResourceList, at *field.Path, names ...v1.ResourceName) {
	for _, name := range names {
		if q, set := list[name]; set && q.MilliValue()%1000 != 0 {
			w.add(at.Key(string(name)), "fractional byte value %q is invalid, must be an integer", q.String())
		}
	}
}

func (w *warner) overhead() {
	w.fractional(w.spec.Overhead, w.in("overhead"), v1.ResourceMemory, v1.ResourceEphemeralStorage)
}

func (w *warner) duplicates() {
	ips := sets.Set[string]{}
	for i, alias := range w.spec.HostAliases {
		if ips.Has(alias.IP) {
			w.add(w.in("hostAliases").Index(i).Child("ip"), "duplicate ip %q", alias.IP)
		}
		ips.Insert(alias.IP)
	}
	names := sets.Set[string]{}
	for i, secret := range w.spec.ImagePullSecrets {
		if names.Has(secret.Name) {
			w.add(w.in("imagePullSecrets").Index(i).Child("name"), "duplicate name %q", secret.Name)
		}
		names.Insert(secret.Name)
	}
	for i, secret := range w.spec.ImagePullSecrets {
		if secret.Name == "" {
			w.add(w.in("imagePullSecrets").Index(i).Child("name"), "invalid empty name %q", secret.Name)
		}
	}
}

func (w *warner) containers() {
	const seccomp = `non-functional in v1.27+; use the "seccompProfile" field instead`
	security := w.spec.SecurityContext
	if _, set := w.annotations[seccompPodAnnotation]; set && (security == nil || security.SeccompProfile == nil) {
		w.add(w.annotation(seccompPodAnnotation), seccomp)
	}
	for c, at := range AllAt(w.spec, w.in()) {
		key := seccompOfContainer + c.Name
		if _, set := w.annotations[key]; set && (c.SecurityContext == nil || c.SecurityContext.SeccompProfile == nil) {
			w.add(w.annotation(key), seccomp)
		}
		w.appArmor(c)
		w.fractionalOf(c, at)
		w.env(c.Env, at.Child("env"))
	}
}

// appArmor is for templates; in a pod the annotation is turned into the field (see core).
func (w *warner) appArmor(c *v1.Container) {
	key := AppArmorOfContainer + c.Name
	value, set := w.annotations[key]
	if w.at == nil || !set || c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
		return
	}
	if p := appArmorOf(w.spec, c); p == nil || !equality.Semantic.DeepEqual(p, AppArmorFromAnnotation(value)) {
		w.add(w.annotation(key), "%s", DeprecatedAppArmor)
	}
}

// DeprecatedAppArmor is the warning at an AppArmor annotation.
const DeprecatedAppArmor = `deprecated since v1.30; use the "appArmorProfile" field instead`

func (w *warner) fractionalOf(c *v1.Container, at *field.Path) {
	for _, name := range []v1.ResourceName{v1.ResourceMemory, v1.ResourceEphemeralStorage} {
		w.fractional(c.Resources.Limits, at.Child("resources", "limits"), name)
		w.fractional(c.Resources.Requests, at.Child("resources", "requests"), name)
	}
}

// env: a variable that is set twice may build on its first value, else one of the two is lost.
func (w *warner) env(vars []v1.EnvVar, at *field.Path) {
	seen := sets.Set[string]{}
	for i, v := range vars {
		reference := "$(" + v.Name + ")"
		if seen.Has(v.Name) && (v.ValueFrom != nil || v.Value == reference || !strings.Contains(v.Value, reference)) {
			w.add(at.Index(i), "hides previous definition of %q, which may be dropped when using apply", v.Name)
		}
		seen.Insert(v.Name)
	}
}

func (w *warner) ports() {
	type place struct {
		at   *field.Path
		port v1.ContainerPort
	}
	taken := map[string][]place{}
	for c, path := range AllAt(w.spec, w.in()) {
		for i, p := range c.Ports {
			at := path.Child("ports").Index(i)
			if p.HostIP != "" && p.HostPort == 0 {
				w.add(at, "hostIP set without hostPort: %+v", p)
			}
			key := fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)
			for _, other := range taken[key] {
				switch o := other.port; {
				case p.HostIP == o.HostIP && p.HostPort == o.HostPort:
					w.add(at, "duplicate port definition with %s", other.at)
				case p.HostPort == 0 || o.HostPort == 0:
					w.add(at, "overlapping port definition with %s", other.at)
				case p.HostPort == o.HostPort && (p.HostIP == "") != (o.HostIP == ""):
					w.add(at, "dangerously ambiguous port definition with %s", other.at)
				}
			}
			taken[key] = append(taken[key], place{at, p})
		}
	}
}

func (w *warner) portNames() {
	taken := map[string]*field.Path{}
	for c, path := range AllAt(w.spec, w.in()) {
		for i, p := range c.Ports {
			if p.Name == "" {
				continue
			}
			at := path.Child("ports").Index(i)
			if other := taken[p.Name]; other != nil {
				w.add(at, "duplicate port name %q with %s, services and probes that select ports by name will use %s", p.Name, other, other)
			} else {
				taken[p.Name] = at
			}
		}
	}
}

func (w *warner) affinity() {
	a := w.spec.Affinity
	if a == nil {
		return
	}
	if p := a.PodAffinity; p != nil {
		w.podTerms("podAffinity", p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		w.podTerms("podAntiAffinity", p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

func (w *warner) podTerms(kind string, must []v1.PodAffinityTerm, should []v1.WeightedPodAffinityTerm) {
	const message = "a null labelSelector results in matching no pod"
	for i, term := range must {
		if term.LabelSelector == nil {
			w.add(w.in("affinity", kind, required).Index(i).Child("labelSelector"), message)
		}
	}
	for i, term := range should {
		if term.PodAffinityTerm.LabelSelector == nil {
			w.add(w.in("affinity", kind, preferred).Index(i).Child("podAffinityTerm", "labelSelector"), message)
		}
	}
}

func (w *warner) addresses() {
	if c := w.spec.DNSConfig; c != nil {
		for i, ip := range c.Nameservers {
			w.warnings = append(w.warnings, validation.GetWarningsForIP(w.in("dnsConfig", "nameservers").Index(i), ip)...)
		}
	}
	for i, alias := range w.spec.HostAliases {
		w.warnings = append(w.warnings, validation.GetWarningsForIP(w.in("hostAliases").Index(i).Child("ip"), alias.IP)...)
	}
}
