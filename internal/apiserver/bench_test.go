package apiserver_test

import (
	"strconv"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

// BenchmarkPostToInformer is the way from a component's POST to another's
// handler, in wall and CPU time: in process through the handler chain, as the
// components have it; the same with the informer fed by the store itself; and over
// TLS, as a remote component has it. docs/adr/0007 decides by it.
func BenchmarkPostToInformer(b *testing.B) {
	s := apitest.Start(b)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := s.Client.CoreV1().ServiceAccounts("default").Create(b.Context(), account, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	remote := s.TLSConfig(b, "admin", "system:masters")
	remote.ContentType, remote.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"
	b.Run("in process", func(b *testing.B) { postToInformer(b, s.LoopbackConfig(), nil) })
	b.Run("direct feed", func(b *testing.B) { postToInformer(b, s.LoopbackConfig(), s.WatchStore("pods")) })
	b.Run("TLS", func(b *testing.B) { postToInformer(b, remote, nil) })
}

// postToInformer makes pods, one after the other; feed nil: the informer lists and
// watches by the client.
func postToInformer(b *testing.B, config *rest.Config, feed cache.ListerWatcher) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	informer := informers.NewSharedInformerFactory(client, 0).Core().V1().Pods().Informer()
	if feed != nil {
		informer = cache.NewSharedInformer(feed, &corev1.Pod{}, 0).(cache.SharedIndexInformer)
	}
	added := make(chan struct{}, 1)
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { added <- struct{}{} }}); err != nil {
		b.Fatal(err)
	}
	go informer.RunWithContext(b.Context())
	if !cache.WaitForCacheSync(b.Context().Done(), informer.HasSynced) {
		b.Fatal("no pods listed")
	}
	for range len(informer.GetStore().List()) {
		<-added
	}
	b.ResetTimer()
	cpu := cpuTime()
	for i := range b.N {
		if _, err := client.CoreV1().Pods("default").Create(b.Context(), smallPod(i), metav1.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
		<-added
	}
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
	b.StopTimer()
	now := int64(0)
	all := metav1.DeleteOptions{GracePeriodSeconds: &now}
	if err := client.CoreV1().Pods("default").DeleteCollection(b.Context(), all, metav1.ListOptions{}); err != nil {
		b.Fatal(err)
	}
}

func smallPod(i int) *corev1.Pod {
	no := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "p-", Labels: map[string]string{"n": strconv.Itoa(i)}},
		Spec: corev1.PodSpec{AutomountServiceAccountToken: &no, Containers: []corev1.Container{{
			Name: "c", Image: "example.test/image:1", Command: []string{"sleep", "3600"}, Env: []corev1.EnvVar{{Name: "NAME", Value: "value"}},
		}}},
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
