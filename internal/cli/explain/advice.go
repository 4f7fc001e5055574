package explain

import (
	"fmt"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// advices: what the reason of a finding means, and what to do about it. The first
// that matches counts; $1 and so on stand for what was matched.
var advices = []struct {
	reason *regexp.Regexp
	remedy string
}{
	{regexp.MustCompile(`(configmap|secret|persistentvolumeclaim|serviceaccount)s? "([^"]+)" not found`), `create the $1 $2 in the pod's namespace: the pod goes on by itself`},
	{regexp.MustCompile(`couldn't find key (\S+) in (ConfigMap|Secret) (\S+)`), `add the key $1 to the $2 $3`},
	{regexp.MustCompile(`runAsNonRoot`), `set runAsUser to a user that is not root, or use an image that does`},
	{regexp.MustCompile(`^0/\d+ nodes are available:.*untolerated taint`), `give the pod a toleration for the taint, or a node without it`},
	{regexp.MustCompile(`^0/\d+ nodes are available:.*Insufficient (\S+?)[,.]`), `lower the pod's request of $1, or end other pods: kubectl describe node shows who has it`},
	{regexp.MustCompile(`^0/\d+ nodes are available:.*node affinity/selector`), `label a node as the pod's nodeSelector or node affinity wants it`},
	{regexp.MustCompile(`^0/\d+ nodes are available:.*free ports`), `another pod has the hostPort: end it, or take another port`},
	{regexp.MustCompile(`^0/\d+ nodes are available:.*unschedulable`), `kubectl uncordon lets the node take pods again`},
	{regexp.MustCompile(`unbound immediate PersistentVolumeClaims`), `a volume must be made for the claim: kubectl describe pvc says what it waits for`},
	{regexp.MustCompile(`unable to start container process:.*(not found in \$PATH|no such file or directory)`), `the image has no such file: correct the container's command, or take another image`},
	{regexp.MustCompile(`unable to start container process:.*permission denied`), `the container's user may not execute it: correct its mode in the image, or runAsUser`},
	{regexp.MustCompile(`OOMKilled`), `raise its memory limit`},
	{regexp.MustCompile(`DeadlineExceeded`), `activeDeadlineSeconds is over: give a new pod more time`},
	{regexp.MustCompile(`^Evicted: .*low on resource`), `the node was short of it: requests in the pod's spec keep it from going first`},
}

// advice on a finding that brings none.
func advice(pod *v1.Pod, f Finding) string {
	for _, a := range advices {
		if m := a.reason.FindStringSubmatchIndex(f.Because); m != nil {
			return string(a.reason.ExpandString(nil, a.remedy, f.Because, m))
		}
	}
	if pod == nil || f.Subject == "" {
		return ""
	}
	logs := fmt.Sprintf("kubectl logs -n %s %s -c %s", pod.Namespace, pod.Name, f.Subject)
	switch {
	case strings.Contains(f.What, "the init container to end"):
		return "what it does: " + logs
	case strings.HasPrefix(f.What, "waits for back-off"):
		return "what it said: " + logs + " --previous"
	case strings.HasPrefix(f.What, "ended with exit code"):
		return "what it said: " + logs
	}
	return ""
}

// wanted says what a probe wants of the container.
func wanted(p *v1.Probe, kind string) string {
	need := max(p.SuccessThreshold, 1)
	if kind == "Startup" {
		need = 1
	}
	times := ""
	if need > 1 {
		times = fmt.Sprintf(" %d times in a row", need)
	}
	switch {
	case p.HTTPGet != nil:
		scheme := strings.ToLower(string(p.HTTPGet.Scheme))
		if scheme == "" {
			scheme = "http"
		}
		return fmt.Sprintf("it must answer GET %s://%s:%s/%s with a status from 200 to 399%s", scheme, orPod(p.HTTPGet.Host), p.HTTPGet.Port.String(), strings.TrimPrefix(p.HTTPGet.Path, "/"), times)
	case p.TCPSocket != nil:
		return fmt.Sprintf("it must take connections at %s:%s%s", orPod(p.TCPSocket.Host), p.TCPSocket.Port.String(), times)
	case p.GRPC != nil:
		return fmt.Sprintf("its gRPC health service on port %d must say SERVING%s", p.GRPC.Port, times)
	case p.Exec != nil:
		return fmt.Sprintf("the command %q must end with exit code 0%s", strings.Join(p.Exec.Command, " "), times)
	}
	return ""
}

func orPod(host string) string {
	if host == "" {
		return "POD"
	}
	return host
}
