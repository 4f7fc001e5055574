package settings

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/evict"
	"github.com/proa-project/proa/internal/node/imagegc"
	"github.com/proa-project/proa/internal/node/logrotate"
	"github.com/proa-project/proa/internal/node/podlife"
	"github.com/proa-project/proa/internal/node/register"
	"github.com/proa-project/proa/internal/node/shutdown"
	"github.com/proa-project/proa/internal/node/static"
	"github.com/proa-project/proa/internal/node/sysctl"
)

// DefaultManifests is the folder of static pods unless another is named.
const DefaultManifests = "/etc/kubernetes/manifests"

// Settings are the configurations of the node's parts, with what the user decides
// about them filled in.
type Settings struct {
	Static   static.Config
	Eviction evict.Config
	Images   imagegc.Policy
	Logs     logrotate.Config
	Register register.Config
	Shutdown []shutdown.Step
	Policy   podlife.Policy
	Limits   container.LimitPolicy

	Port          int32 // of the node's HTTPS server; 0 = the usual one, or any
	PodPIDs       int64 // at most in a pod; 0 = no limit
	Sysctls       sysctl.Allowed
	ClusterDomain string
	ClusterDNS    []string
	ResolvConf    string // "" = none
	RuntimeSocket string // "" = our own runtime
	// Configuration is all this as it was said.
	Configuration *kubelet.KubeletConfiguration
}

// New makes settings of a configuration; the zero one is all defaults. Images
// apart are on a file system of their own.
func New(c kubelet.KubeletConfiguration, imagesApart bool) (*Settings, error) {
	s := &Settings{Configuration: &c, Policy: podlife.DefaultPolicy()}
	var errs field.ErrorList
	for _, part := range []func(*kubelet.KubeletConfiguration) field.ErrorList{
		s.static, s.network, s.images, s.logs, s.restarts, s.limits, s.shutdown, s.register,
		func(c *kubelet.KubeletConfiguration) field.ErrorList { return s.eviction(c, imagesApart) },
	} {
		errs = append(errs, part(&c)...)
	}
	return s, errs.ToAggregate()
}

func (s *Settings) static(c *kubelet.KubeletConfiguration) (errs field.ErrorList) {
	s.Static = static.Config{
		Path: c.StaticPodPath, URL: c.StaticPodURL, Header: http.Header(c.StaticPodURLHeader),
		FileEvery: c.FileCheckFrequency.Duration, Every: c.HTTPCheckFrequency.Duration,
	}
	if s.Static.Path == "" {
		s.Static.Path = DefaultManifests
	}
	if !filepath.IsAbs(s.Static.Path) {
		errs = append(errs, field.Invalid(field.NewPath("staticPodPath"), c.StaticPodPath, "must be an absolute path"))
	}
	if u, err := url.Parse(c.StaticPodURL); c.StaticPodURL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		errs = append(errs, field.Invalid(field.NewPath("staticPodURL"), c.StaticPodURL, "must be a http or https URL"))
	}
	errs = append(errs, notNegative("fileCheckFrequency", c.FileCheckFrequency)...)
	return append(errs, notNegative("httpCheckFrequency", c.HTTPCheckFrequency)...)
}

func (s *Settings) network(c *kubelet.KubeletConfiguration) (errs field.ErrorList) {
	s.Port, s.ClusterDomain, s.ClusterDNS, s.ResolvConf = c.Port, cmp.Or(c.ClusterDomain, "cluster.local"), c.ClusterDNS, "/etc/resolv.conf"
	s.RuntimeSocket = c.ContainerRuntimeEndpoint
	if c.ResolverConfig != nil {
		s.ResolvConf = *c.ResolverConfig
	}
	if c.Port < 0 || c.Port > 65535 {
		errs = append(errs, field.Invalid(field.NewPath("port"), c.Port, "must be between 1 and 65535"))
	}
	if c.PodPidsLimit != nil {
		s.PodPIDs = max(*c.PodPidsLimit, 0)
	}
	var more field.ErrorList
	s.Sysctls, more = sysctl.New(c.AllowedUnsafeSysctls)
	return append(errs, more...)
}

func (s *Settings) eviction(c *kubelet.KubeletConfiguration, imagesApart bool) field.ErrorList {
	thresholds, errs := evict.Parse(evict.Wanted{
		Hard: c.EvictionHard, Soft: c.EvictionSoft, SoftGrace: c.EvictionSoftGracePeriod, MinReclaim: c.EvictionMinimumReclaim,
		KeepDefaults: c.MergeDefaultEvictionSettings != nil && *c.MergeDefaultEvictionSettings, ImagesApart: imagesApart,
	})
	if thresholds == nil {
		thresholds = []evict.Threshold{} // all switched off, not unsaid
	}
	s.Eviction = evict.Config{
		Thresholds: thresholds, Transition: c.EvictionPressureTransitionPeriod.Duration,
		MaxSoftGrace: time.Duration(c.EvictionMaxPodGracePeriod) * time.Second,
	}
	for i := range thresholds {
		t := &thresholds[i]
		switch {
		case t.Grace > 0:
		case t.Signal == evict.MemoryAvailable:
			s.Register.Reserve.EvictionMemory = t.Amount
		case t.Signal == evict.NodeFSAvailable:
			s.Register.Reserve.EvictionDisk = t.Amount
		}
	}
	return append(errs, notNegative("evictionPressureTransitionPeriod", c.EvictionPressureTransitionPeriod)...)
}

func (s *Settings) images(c *kubelet.KubeletConfiguration) (errs field.ErrorList) {
	s.Images = imagegc.DefaultPolicy()
	percent := func(name string, value *int32, to *int) {
		if value == nil {
			return
		}
		if *value < 0 || *value > 100 {
			errs = append(errs, field.Invalid(field.NewPath(name), *value, "must be between 0 and 100"))
		}
		*to = int(*value)
	}
	percent("imageGCHighThresholdPercent", c.ImageGCHighThresholdPercent, &s.Images.HighPercent)
	percent("imageGCLowThresholdPercent", c.ImageGCLowThresholdPercent, &s.Images.LowPercent)
	if s.Images.LowPercent >= s.Images.HighPercent {
		errs = append(errs, field.Invalid(field.NewPath("imageGCLowThresholdPercent"), s.Images.LowPercent, "must be less than imageGCHighThresholdPercent"))
	}
	if d := c.ImageMinimumGCAge.Duration; d > 0 {
		s.Images.MinAge = d
	}
	s.Images.MaxAge = c.ImageMaximumGCAge.Duration
	if s.Images.MaxAge != 0 && s.Images.MaxAge <= s.Images.MinAge {
		errs = append(errs, field.Invalid(field.NewPath("imageMaximumGCAge"), s.Images.MaxAge.String(), "must be more than imageMinimumGCAge"))
	}
	return append(errs, notNegative("imageMinimumGCAge", c.ImageMinimumGCAge)...)
}

func (s *Settings) logs(c *kubelet.KubeletConfiguration) (errs field.ErrorList) {
	if text := c.ContainerLogMaxSize; text != "" {
		q, err := resource.ParseQuantity(text)
		if err != nil || q.Sign() <= 0 {
			errs = append(errs, field.Invalid(field.NewPath("containerLogMaxSize"), text, "must be a quantity above zero, like 10Mi"))
		}
		s.Logs.MaxSize = q.Value()
	}
	if n := c.ContainerLogMaxFiles; n != nil {
		if *n < 2 {
			errs = append(errs, field.Invalid(field.NewPath("containerLogMaxFiles"), *n, "must be at least 2: the log, and one that was moved away"))
		}
		s.Logs.MaxFiles = int(*n)
	}
	if d := c.ContainerLogMonitorInterval; d != nil {
		if d.Duration < 3*time.Second {
			errs = append(errs, field.Invalid(field.NewPath("containerLogMonitorInterval"), d.Duration.String(), "must be at least 3s"))
		}
		s.Logs.Every = d.Duration
	}
	return errs
}

// restarts: the first delay is shortened with the longest one.
func (s *Settings) restarts(c *kubelet.KubeletConfiguration) (errs field.ErrorList) {
	d := c.CrashLoopBackOff.MaxContainerRestartPeriod
	if d == nil {
		return nil
	}
	if d.Duration < time.Second || d.Duration > 5*time.Minute {
		errs = append(errs, field.Invalid(field.NewPath("crashLoopBackOff", "maxContainerRestartPeriod"), d.Duration.String(), "must be between 1s and 300s"))
	}
	s.Policy.Max = d.Duration
	s.Policy.Initial = min(s.Policy.Initial, d.Duration)
	return errs
}

func (s *Settings) limits(c *kubelet.KubeletConfiguration) (errs field.ErrorList) {
	yes := func(b *bool) bool { return b != nil && *b }
	s.Limits = container.LimitPolicy{
		LimitedSwap:      c.MemorySwap.SwapBehavior == "LimitedSwap",
		OneProcessOOM:    yes(c.SingleProcessOOMKill),
		NoSeccompDefault: c.SeccompDefault != nil && !*c.SeccompDefault,
	}
	if b := c.MemorySwap.SwapBehavior; !slices.Contains([]string{"", "NoSwap", "LimitedSwap"}, b) {
		errs = append(errs, field.NotSupported(field.NewPath("memorySwap", "swapBehavior"), b, []string{"NoSwap", "LimitedSwap"}))
	}
	return errs
}

func (s *Settings) shutdown(c *kubelet.KubeletConfiguration) (errs field.ErrorList) {
	by := c.ShutdownGracePeriodByPodPriority
	if len(by) == 0 {
		s.Shutdown, errs = shutdown.Steps(c.ShutdownGracePeriod.Duration, c.ShutdownGracePeriodCriticalPods.Duration)
		return errs
	}
	at := field.NewPath("shutdownGracePeriodByPodPriority")
	if c.ShutdownGracePeriod.Duration != 0 || c.ShutdownGracePeriodCriticalPods.Duration != 0 {
		errs = append(errs, field.Forbidden(at, "may not be used together with shutdownGracePeriod or shutdownGracePeriodCriticalPods"))
	}
	seen := map[int32]bool{}
	for i, step := range by {
		if seen[step.Priority] {
			errs = append(errs, field.Duplicate(at.Index(i).Child("priority"), step.Priority))
		}
		if step.ShutdownGracePeriodSeconds < 0 {
			errs = append(errs, field.Invalid(at.Index(i).Child("shutdownGracePeriodSeconds"), step.ShutdownGracePeriodSeconds, "must not be negative"))
		}
		seen[step.Priority] = true
		s.Shutdown = append(s.Shutdown, shutdown.Step{Priority: step.Priority, Grace: time.Duration(step.ShutdownGracePeriodSeconds) * time.Second})
	}
	return errs
}

func (s *Settings) register(c *kubelet.KubeletConfiguration) (errs field.ErrorList) {
	s.Register.MaxPods, s.Register.ProviderID, s.Register.Taints = int(c.MaxPods), c.ProviderID, c.RegisterWithTaints
	if c.MaxPods < 0 {
		errs = append(errs, field.Invalid(field.NewPath("maxPods"), c.MaxPods, "must not be negative"))
	}
	errs = append(errs, checkTaints(c.RegisterWithTaints)...)
	reserved := v1.ResourceList{}
	for name, wanted := range map[string]map[string]string{"systemReserved": c.SystemReserved, "kubeReserved": c.KubeReserved} {
		errs = append(errs, addReserved(field.NewPath(name), wanted, reserved)...)
	}
	s.Register.Reserve.Resources = reserved
	return errs
}

func addReserved(at *field.Path, wanted map[string]string, to v1.ResourceList) (errs field.ErrorList) {
	allowed := []string{string(v1.ResourceCPU), string(v1.ResourceMemory), string(v1.ResourceEphemeralStorage), "pid"}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if !slices.Contains(allowed, name) {
			errs = append(errs, field.NotSupported(at.Key(name), name, allowed))
			continue
		}
		q, err := resource.ParseQuantity(wanted[name])
		if err != nil || q.Sign() < 0 {
			errs = append(errs, field.Invalid(at.Key(name), wanted[name], "must be a quantity, not negative"))
			continue
		}
		sum := to[v1.ResourceName(name)]
		sum.Add(q)
		to[v1.ResourceName(name)] = sum
	}
	return errs
}

func notNegative(name string, d metav1.Duration) field.ErrorList {
	if d.Duration < 0 {
		return field.ErrorList{field.Invalid(field.NewPath(name), d.Duration.String(), "must not be negative")}
	}
	return nil
}

func checkTaints(taints []v1.Taint) (errs field.ErrorList) {
	at := field.NewPath("registerWithTaints")
	effects := []v1.TaintEffect{v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule, v1.TaintEffectNoExecute}
	for i, t := range taints {
		for _, problem := range validation.IsQualifiedName(t.Key) {
			errs = append(errs, field.Invalid(at.Index(i).Child("key"), t.Key, problem))
		}
		if !slices.Contains(effects, t.Effect) {
			errs = append(errs, field.NotSupported(at.Index(i).Child("effect"), t.Effect, effects))
		}
	}
	return errs
}
