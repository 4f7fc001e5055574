package settings

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const (
	apiVersion = "kubelet.config.k8s.io/v1beta1"
	kind       = "KubeletConfiguration"
)

// effective are the fields that a node here goes by.
var effective = []string{
	"allowedUnsafeSysctls", "clusterDNS", "clusterDomain", "containerLogMaxFiles", "containerLogMaxSize", "containerLogMonitorInterval",
	"containerRuntimeEndpoint", "crashLoopBackOff", "evictionHard", "evictionMaxPodGracePeriod", "evictionMinimumReclaim",
	"evictionPressureTransitionPeriod", "evictionSoft", "evictionSoftGracePeriod", "fileCheckFrequency", "httpCheckFrequency",
	"imageGCHighThresholdPercent", "imageGCLowThresholdPercent", "imageMaximumGCAge", "imageMinimumGCAge", "kubeReserved", "maxPods",
	"memorySwap", "mergeDefaultEvictionSettings", "podPidsLimit", "port", "providerID", "registerWithTaints", "resolvConf", "seccompDefault",
	"shutdownGracePeriod", "shutdownGracePeriodByPodPriority", "shutdownGracePeriodCriticalPods", "singleProcessOOMKill", "staticPodPath",
	"staticPodURL", "staticPodURLHeader", "systemReserved",
}

// Parse reads a configuration, YAML or JSON. Ignored are the fields that it sets
// and that have no effect here.
func Parse(data []byte) (c *kubelet.KubeletConfiguration, ignored []string, err error) {
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, nil, fmt.Errorf("strict decoding error: %w", err)
	}
	var kindOf metav1.TypeMeta
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &kindOf); err != nil {
		return nil, nil, err
	}
	if kindOf.APIVersion != apiVersion || kindOf.Kind != kind {
		return nil, nil, fmt.Errorf("a %s of apiVersion %s is needed, not %q of %q", kind, apiVersion, kindOf.Kind, kindOf.APIVersion)
	}
	c = &kubelet.KubeletConfiguration{}
	strict, err := kjson.UnmarshalStrict(raw, c)
	if err = errors.Join(err, errors.Join(strict...)); err != nil {
		return nil, nil, fmt.Errorf("strict decoding error: %s", strings.ReplaceAll(err.Error(), "\n", ", "))
	}
	var fields map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &fields); err != nil {
		return nil, nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if name != "apiVersion" && name != "kind" && !slices.Contains(effective, name) && !empty(fields[name]) {
			ignored = append(ignored, name)
		}
	}
	return c, ignored, nil
}

// empty tells values that say nothing: tools write out every field, most of them so.
func empty(value any) bool {
	if value == nil || value == "0s" {
		return true
	}
	v := reflect.ValueOf(value)
	if v.Kind() != reflect.Map {
		return v.IsZero()
	}
	for _, key := range v.MapKeys() {
		if !empty(v.MapIndex(key).Interface()) {
			return false
		}
	}
	return true
}
