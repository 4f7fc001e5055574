package container

import (
	"fmt"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Labels that every sandbox and container carries, by which the agent finds its
// own again. They are upstream's, since tools read them.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"
)

// Annotations of a container.
const (
	AnnotationHash             = "io.kubernetes.container.hash"
	AnnotationRestartCount     = "io.kubernetes.container.restartCount"
	AnnotationMessagePath      = "io.kubernetes.container.terminationMessagePath"
	AnnotationMessagePolicy    = "io.kubernetes.container.terminationMessagePolicy"
	AnnotationPodGrace         = "io.kubernetes.pod.terminationGracePeriod"
	AnnotationContainerMessage = "dev.proa.container.terminationMessageFile"
)

// maxHostname is the kernel's limit.
const maxHostname = 63

// Hostname is what the pod calls itself.
func Hostname(pod *v1.Pod, node Node) (string, error) {
	host, domain := hostAndDomain(pod, node)
	if !isTrue(pod.Spec.SetHostnameAsFQDN) || domain == "" || pod.Spec.HostnameOverride != nil {
		return host, nil
	}
	fqdn := host + "." + domain
	if len(fqdn) > maxHostname+1 {
		return "", fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (%d characters is the max, %d characters requested)", fqdn, maxHostname+1, len(fqdn))
	}
	return fqdn, nil
}

// hostAndDomain: the domain is set for pods with a subdomain only.
func hostAndDomain(pod *v1.Pod, node Node) (host, domain string) {
	if pod.Spec.HostnameOverride != nil {
		return *pod.Spec.HostnameOverride, ""
	}
	host = pod.Spec.Hostname
	if host == "" {
		host = pod.Name
		if len(host) > maxHostname {
			host = strings.TrimRight(host[:maxHostname], "-.")
		}
	}
	if pod.Spec.Subdomain != "" {
		domain = fmt.Sprintf("%s.%s.svc.%s", pod.Spec.Subdomain, pod.Namespace, node.ClusterDomain)
	}
	return host, domain
}

// PodLogDir is where the logs of a pod's containers are.
func PodLogDir(root string, pod *v1.Pod) string {
	return filepath.Join(root, fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID))
}

// LogPath of one run of a container, below the pod's folder.
func LogPath(containerName string, attempt int) string {
	return filepath.Join(containerName, fmt.Sprintf("%d.log", attempt))
}
