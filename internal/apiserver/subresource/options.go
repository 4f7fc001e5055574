package subresource

import (
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
)

// Options registers how query parameters become the option kinds of the
// connecting subresources; the field tags of those types are the source.
func Options(s *runtime.Scheme) error {
	for _, add := range []func(*runtime.Scheme) error{
		query(func(q values, o *corev1.PodLogOptions) {
			o.Container, o.Follow, o.Previous, o.Timestamps = q.string("container"), q.bool("follow"), q.bool("previous"), q.bool("timestamps")
			o.SinceSeconds, o.SinceTime = q.int64("sinceSeconds"), q.time("sinceTime")
			o.TailLines, o.LimitBytes = q.int64("tailLines"), q.int64("limitBytes")
			o.InsecureSkipTLSVerifyBackend = q.bool("insecureSkipTLSVerifyBackend")
			if q.has("stream") {
				stream := q.string("stream")
				o.Stream = &stream
			}
		}),
		query(func(q values, o *corev1.PodExecOptions) {
			o.Stdin, o.Stdout, o.Stderr, o.TTY = q.bool("stdin"), q.bool("stdout"), q.bool("stderr"), q.bool("tty")
			o.Container, o.Command = q.string("container"), q.Values["command"]
		}),
		query(func(q values, o *corev1.PodAttachOptions) {
			o.Stdin, o.Stdout, o.Stderr, o.TTY = q.bool("stdin"), q.bool("stdout"), q.bool("stderr"), q.bool("tty")
			o.Container = q.string("container")
		}),
		query(func(q values, o *corev1.PodPortForwardOptions) {
			for _, v := range q.Values["ports"] {
				if n, err := strconv.ParseInt(v, 10, 32); err == nil {
					o.Ports = append(o.Ports, int32(n))
				}
			}
		}),
		query(func(q values, o *corev1.PodProxyOptions) { o.Path = q.string("path") }),
		query(func(q values, o *corev1.NodeProxyOptions) { o.Path = q.string("path") }),
		query(func(q values, o *corev1.ServiceProxyOptions) { o.Path = q.string("path") }),
	} {
		if err := add(s); err != nil {
			return err
		}
	}
	return nil
}

func query[T any](f func(values, *T)) func(*runtime.Scheme) error {
	return func(s *runtime.Scheme) error {
		return s.AddConversionFunc((*url.Values)(nil), (*T)(nil), func(a, b any, _ conversion.Scope) error {
			f(values{*a.(*url.Values)}, b.(*T))
			return nil
		})
	}
}

// values reads parameters as the API does: what does not parse counts as unset,
// a boolean is true unless it says false or 0.
type values struct{ url.Values }

func (v values) has(key string) bool      { return len(v.Values[key]) > 0 }
func (v values) string(key string) string { return v.Get(key) }

func (v values) bool(key string) bool {
	if !v.has(key) {
		return false
	}
	switch v.Get(key) {
	case "false", "0":
		return false
	}
	return true
}

func (v values) int64(key string) *int64 {
	n, err := strconv.ParseInt(v.Get(key), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

func (v values) time(key string) *metav1.Time {
	if !v.has(key) {
		return nil
	}
	var t metav1.Time
	if t.UnmarshalQueryParameter(v.Get(key)) != nil {
		return nil
	}
	return &t
}
