package proxy

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/kit/netnstest"
)

// benchServices have three endpoints each; every tenth a node port.
func benchServices(n int) (services []*v1.Service, endpoints [][]string) {
	for i := range n {
		s := service(fmt.Sprint("s", i), fmt.Sprintf("10.43.%d.%d", i/250, i%250+1))
		if i%10 == 0 {
			nodePort(s)
			s.Spec.Ports[0].NodePort = int32(30000 + i/10)
		}
		services = append(services, s)
		endpoints = append(endpoints, []string{
			fmt.Sprintf("10.42.%d.%d", i/250, i%250+1), fmt.Sprintf("10.42.%d.%d", 100+i/250, i%250+1), fmt.Sprintf("10.42.%d.%d@there", 200+i/250, i%250+1),
		})
	}
	return services, endpoints
}

func BenchmarkCompile(b *testing.B) {
	services, endpoints := benchServices(1)
	all := slicesFor(endpoints[0])
	for b.Loop() {
		Compile(services[0], all, here)
	}
}

// The first transaction of a node in a cluster of so many services.
func BenchmarkInstall(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := netnstest.New(b, "bench")
			services, endpoints := benchServices(n)
			for b.Loop() {
				b.StopTimer()
				if err := netnstest.Inside(w, func() error { return Remove("bench") }); err != nil {
					b.Fatal(err)
				}
				one := newTable(ipv4, "bench", nil)
				for i, s := range services {
					one.put(s.Name, s.Name, Compile(s, slicesFor(endpoints[i]), here).of(ipv4))
				}
				b.StartTimer()
				if err := netnstest.Inside(w, one.sync); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One endpoint of one service among so many comes or goes.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := netnstest.New(b, "bench")
			services, endpoints := benchServices(n)
			one := newTable(ipv4, "bench", nil)
			for i, s := range services {
				one.put(s.Name, s.Name, Compile(s, slicesFor(endpoints[i]), here).of(ipv4))
			}
			if err := netnstest.Inside(w, one.sync); err != nil {
				b.Fatal(err)
			}
			i := 0
			for b.Loop() {
				i++
				s := services[i%n]
				one.put(s.Name, s.Name, Compile(s, slicesFor(endpoints[i%n][:1+i/n%3]), here).of(ipv4))
				if err := netnstest.Inside(w, one.sync); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
