package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/proa-project/proa/internal/control"
	"github.com/proa-project/proa/test/cluster"
)

// patience bounds every wait of the benchmark.
const patience = 2 * time.Minute

// bench drives one cluster; it hears of pods through a watch of its own.
type bench struct {
	client kubernetes.Interface
	status control.Status

	mu    sync.Mutex
	ready map[string]time.Time // by name
	gone  map[string]time.Time
	bell  chan struct{} // rung, without waiting, at each change
	next  atomic.Int64
}

func newBench(ctx context.Context, c *cluster.Cluster) (*bench, error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	status, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{client: client, status: status, ready: map[string]time.Time{}, gone: map[string]time.Time{}, bell: make(chan struct{}, 1)}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(metav1.NamespaceDefault))
	informer := factory.Core().V1().Pods().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, o any) { b.saw(o) },
		DeleteFunc: func(o any) {
			if p, ok := o.(*v1.Pod); ok {
				b.note(b.gone, p.Name)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return b, nil
}

func (b *bench) saw(o any) {
	for _, c := range o.(*v1.Pod).Status.Conditions {
		if c.Type == v1.PodReady && c.Status == v1.ConditionTrue {
			b.note(b.ready, o.(*v1.Pod).Name)
		}
	}
}

func (b *bench) note(in map[string]time.Time, name string) {
	b.mu.Lock()
	if _, known := in[name]; !known {
		in[name] = time.Now()
	}
	b.mu.Unlock()
	select {
	case b.bell <- struct{}{}:
	default:
	}
}

// await returns when the last of the pods was noted.
func (b *bench) await(ctx context.Context, in map[string]time.Time, names ...string) (last time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		missing := ""
		b.mu.Lock()
		for _, n := range names {
			at, ok := in[n]
			if !ok {
				missing = n
			}
			if at.After(last) {
				last = at
			}
		}
		b.mu.Unlock()
		if missing == "" {
			return last, nil
		}
		select {
		case <-b.bell:
		case <-ctx.Done():
			return last, fmt.Errorf("pod %s: %w", missing, ctx.Err())
		}
	}
}

// create makes a pod that sleeps; a stubborn one does not end on TERM.
func (b *bench) create(ctx context.Context, stubborn bool) (name string, err error) {
	name = fmt.Sprintf("bench-%d", b.next.Add(1))
	grace := int64(1)
	command := []string{"sleep", "3600"}
	if stubborn {
		command = []string{"sh", "-c", "trap '' TERM; while :; do sleep 3600; done"}
	}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []v1.Container{{Name: "c", Image: image, ImagePullPolicy: v1.PullNever, Command: command}},
		},
	}
	_, err = b.client.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, pod, metav1.CreateOptions{})
	return name, err
}

func (b *bench) delete(ctx context.Context, names ...string) (last time.Time, err error) {
	for _, n := range names {
		err := b.client.CoreV1().Pods(metav1.NamespaceDefault).Delete(ctx, n, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return last, err
		}
	}
	return b.await(ctx, b.gone, names...)
}

func (b *bench) oneByOne(ctx context.Context, rounds int) ([]Figure, error) {
	before := b.cpu()
	var took []float64
	for range rounds {
		began := time.Now()
		name, err := b.create(ctx, false)
		if err != nil {
			return nil, err
		}
		at, err := b.await(ctx, b.ready, name)
		if err != nil {
			return nil, err
		}
		took = append(took, at.Sub(began).Seconds()*1000)
		if _, err := b.delete(ctx, name); err != nil {
			return nil, err
		}
	}
	spent := b.cpu().since(before)
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(rounds) }
	return []Figure{
		atMost("create → Ready, p50", quantile(took, 0.5), "ms", 80).beside("840–1,060"),
		{Name: "create → Ready, p99", Value: quantile(took, 0.99), Unit: "ms", Upstream: "1,325"},
		atMost("CPU to start and stop a pod", each(spent.all()), "ms", 150).beside("970"),
		partOf(Figure{Name: "server", Value: each(spent.server), Unit: "ms"}),
		partOf(Figure{Name: "keeper", Value: each(spent.keeper), Unit: "ms"}),
		partOf(Figure{Name: "what becomes the container", Value: each(spent.children), Unit: "ms"}),
	}, nil
}

func (b *bench) deletions(ctx context.Context) ([]Figure, error) {
	var took []float64
	for range 5 {
		name, err := b.create(ctx, true)
		if err != nil {
			return nil, err
		}
		if _, err := b.await(ctx, b.ready, name); err != nil {
			return nil, err
		}
		time.Sleep(200 * time.Millisecond) // the shell has set its trap
		began := time.Now()
		at, err := b.delete(ctx, name)
		if err != nil {
			return nil, err
		}
		took = append(took, at.Sub(began).Seconds())
	}
	return []Figure{atMost("delete → gone, grace 1 s, TERM ignored, p50", quantile(took, 0.5), "s", 1.1).beside("3.2–4.8")}, nil
}

func (b *bench) allBursts(ctx context.Context, sizes []int) (figures []Figure, err error) {
	for _, n := range sizes {
		f, err := b.burst(ctx, n)
		if err != nil {
			return figures, err
		}
		figures = append(figures, f)
	}
	return figures, nil
}

func (b *bench) burst(ctx context.Context, n int) (Figure, error) {
	names := make([]string, n)
	began := time.Now()
	for i := range names {
		var err error
		if names[i], err = b.create(ctx, false); err != nil {
			return Figure{}, err
		}
	}
	last, err := b.await(ctx, b.ready, names...)
	if err != nil {
		return Figure{}, err
	}
	rate := float64(n) / last.Sub(began).Seconds()
	if _, err := b.delete(ctx, names...); err != nil {
		return Figure{}, err
	}
	f := Figure{Name: fmt.Sprintf("pods/s in a burst of %d", n), Value: rate, Unit: "1/s"}
	if n == 30 {
		f = atLeast(f.Name, rate, "1/s", 15).beside("1.9–2.2")
	}
	return f, nil
}

// creates is how many ConfigMaps 32 clients make in a second.
func (b *bench) creates(ctx context.Context) ([]Figure, error) {
	const clients, window = 32, 3 * time.Second
	var made atomic.Int64
	var failed atomic.Value
	var wg sync.WaitGroup
	deadline := time.Now().Add(window)
	for i := range clients {
		wg.Go(func() {
			for n := 0; time.Now().Before(deadline); n++ {
				m := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bench-%d-%d", i, n)}, Data: map[string]string{"k": "v"}}
				if _, err := b.client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Create(ctx, m, metav1.CreateOptions{}); err != nil {
					failed.Store(err)
					return
				}
				made.Add(1)
			}
		})
	}
	wg.Wait()
	if err, ok := failed.Load().(error); ok {
		return nil, err
	}
	return []Figure{{Name: "API creates", Value: float64(made.Load()) / window.Seconds(), Unit: "1/s"}}, nil
}

// quantile of values, by nearest rank.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
