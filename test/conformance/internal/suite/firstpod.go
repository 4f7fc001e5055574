package suite

import "regexp"

// firstPod matches the containers of the tests that ask for nothing beyond a pod:
// its containers, environment and payload volumes, logs and exec, and the API's
// watches, patches, events and namespaces. No services, workloads or storage.
var firstPod = regexp.MustCompile(`^(` +
	`\[sig-node\] (ConfigMap|Container Runtime|Containers|Downward API|Kubelet|KubeletManagedEtcHosts|Pods|Secrets|Security Context|Variable Expansion)` +
	`|\[sig-storage\] (ConfigMap|Downward API volume|EmptyDir volumes|EmptyDir wrapper volumes|Projected (combined|configMap|downwardAPI|secret)|Secrets)` +
	`|\[sig-api-machinery\] (Namespaces|Watchers)` +
	`|\[sig-instrumentation\] (Events|Events API)` +
	`|\[sig-cli\] Kubectl (client Kubectl (describe|label|patch|run pod)|logs)` +
	`) `)

// FirstPod says that a conformance test needs only what a first pod does.
func FirstPod(name string) bool { return firstPod.MatchString(name) }
