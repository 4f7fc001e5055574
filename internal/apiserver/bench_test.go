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
// handler, in process and as a remote component has it: wall and CPU time.
func BenchmarkPostToInformer(b *testing.B) {
	s := apitest.Start(b)
	remote := s.TLSConfig(b, "admin", "system:masters")
	remote.ContentType, remote.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"
	b.Run("in process", func(b *testing.B) { postToInformer(b, s.LoopbackConfig()) })
	b.Run("TLS", func(b *testing.B) { postToInformer(b, remote) })
}

func postToInformer(b *testing.B, config *rest.Config) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	f := informers.NewSharedInformerFactory(client, 0)
	added := make(chan struct{}, 1)
	_, err = f.Core().V1().ConfigMaps().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { added <- struct{}{} }})
	if err != nil {
		b.Fatal(err)
	}
	stop := make(chan struct{})
	defer func() { close(stop); f.Shutdown() }()
	f.Start(stop)
	f.WaitForCacheSync(stop)
	for range len(f.Core().V1().ConfigMaps().Informer().GetStore().List()) {
		<-added
	}
	b.ResetTimer()
	cpu := cpuTime()
	for i := range b.N {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "c-"}, Data: map[string]string{"n": strconv.Itoa(i)}}
		if _, err := client.CoreV1().ConfigMaps("default").Create(b.Context(), m, metav1.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
		<-added
	}
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
