package subresource

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// container is the container a request means: the one it names, or the only one.
func container(pod *corev1.Pod, name string) (string, error) {
	all := containerNames(pod)
	if name != "" {
		for _, n := range all {
			if n == name {
				return name, nil
			}
		}
		return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
	}
	switch len(pod.Spec.Containers) {
	case 1:
		return pod.Spec.Containers[0].Name, nil
	case 0:
		return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s", pod.Name))
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s, choose one of: %s", pod.Name, all))
}

// containerNames lists init containers first, then the others, then ephemeral ones.
func containerNames(pod *corev1.Pod) (names []string) {
	for i := range pod.Spec.InitContainers {
		names = append(names, pod.Spec.InitContainers[i].Name)
	}
	for i := range pod.Spec.Containers {
		names = append(names, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.EphemeralContainers {
		names = append(names, pod.Spec.EphemeralContainers[i].Name)
	}
	return names
}

// The paths and parameters below are the node's HTTP API, as upstream's kubelet has it.

func logPath(pod *corev1.Pod, o *corev1.PodLogOptions) (*url.URL, error) {
	name, err := container(pod, o.Container)
	if err != nil {
		return nil, err
	}
	q := url.Values{}
	set := func(key string, on bool) {
		if on {
			q.Set(key, "true")
		}
	}
	number := func(key string, n *int64) {
		if n != nil {
			q.Set(key, strconv.FormatInt(*n, 10))
		}
	}
	set("follow", o.Follow)
	set("previous", o.Previous)
	set("timestamps", o.Timestamps)
	number("sinceSeconds", o.SinceSeconds)
	number("tailLines", o.TailLines)
	number("limitBytes", o.LimitBytes)
	if o.SinceTime != nil {
		q.Set("sinceTime", o.SinceTime.Format(time.RFC3339))
	}
	if o.Stream != nil && *o.Stream != corev1.LogStreamAll {
		q.Set("stream", *o.Stream)
	}
	return &url.URL{Path: "/containerLogs/" + pod.Namespace + "/" + pod.Name + "/" + name, RawQuery: q.Encode()}, nil
}

func execPath(pod *corev1.Pod, o *corev1.PodExecOptions) (*url.URL, error) {
	q := streams(o.Stdin, o.Stdout, o.Stderr, o.TTY)
	q["command"] = o.Command
	return streamPath("exec", pod, o.Container, q)
}

func attachPath(pod *corev1.Pod, o *corev1.PodAttachOptions) (*url.URL, error) {
	return streamPath("attach", pod, o.Container, streams(o.Stdin, o.Stdout, o.Stderr, o.TTY))
}

func portForwardPath(pod *corev1.Pod, o *corev1.PodPortForwardOptions) *url.URL {
	q := url.Values{}
	if len(o.Ports) > 0 {
		ports := make([]string, len(o.Ports))
		for i, p := range o.Ports {
			ports[i] = strconv.Itoa(int(p))
		}
		q.Set(corev1.PortHeader, strings.Join(ports, ","))
	}
	return &url.URL{Path: "/portForward/" + pod.Namespace + "/" + pod.Name, RawQuery: q.Encode()}
}

func streamPath(verb string, pod *corev1.Pod, name string, q url.Values) (*url.URL, error) {
	name, err := container(pod, name)
	if err != nil {
		return nil, err
	}
	return &url.URL{Path: "/" + verb + "/" + pod.Namespace + "/" + pod.Name + "/" + name, RawQuery: q.Encode()}, nil
}

func streams(stdin, stdout, stderr, tty bool) url.Values {
	q := url.Values{}
	for key, on := range map[string]bool{
		corev1.ExecStdinParam: stdin, corev1.ExecStdoutParam: stdout, corev1.ExecStderrParam: stderr, corev1.ExecTTYParam: tty,
	} {
		if on {
			q.Set(key, "1")
		}
	}
	return q
}
