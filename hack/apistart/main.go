// Command apistart runs etcd and the API server alone and tells how long they
// took and what they hold, for measurements and for trying things by hand.
//
//	apistart DIR   # state, and a kubeconfig of an administrator, in DIR
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	"github.com/proa-project/proa/internal/apiserver"
	"github.com/proa-project/proa/internal/etcd"
)

func main() {
	// Collecting garbage while everything is being built is a quarter of the start.
	debug.SetGCPercent(400)
	klog.LogToStderr(false)
	klog.SetLogger(klog.Logger{})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) error {
	start := processStart()
	step := func(what string) {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
		fmt.Printf("%6.0f ms wall %6.0f ms CPU  %s\n", time.Since(start).Seconds()*1000, cpu.Seconds()*1000, what)
	}
	step("main")
	type opened struct {
		store *etcd.Store
		err   error
	}
	c := make(chan opened, 1)
	go func() {
		store, err := etcd.Start(ctx, etcd.Config{Dir: filepath.Join(dir, "etcd")})
		step("etcd")
		c <- opened{store, err}
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := issue(nil, nil, key, "ca", nil)
	cert, keyPEM := encode(issue(ca, key, key, "server", nil)), encodeKey(key)
	step("certificates")
	o := <-c
	if o.err != nil {
		return o.err
	}
	defer o.store.Close()
	s, err := apiserver.New(ctx, apiserver.Config{
		Etcd: o.store.Client(), Listener: listener, ServingCert: cert, ServingKey: keyPEM,
		ClientCA: encode(ca), ServiceAccountKeys: []crypto.Signer{key},
	})
	if err != nil {
		return err
	}
	step("apiserver built")
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	step("ready")
	debug.SetGCPercent(100)
	config := clientcmdapi.NewConfig()
	config.Clusters["proa"] = &clientcmdapi.Cluster{Server: "https://" + listener.Addr().String(), CertificateAuthorityData: encode(ca)}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: encode(issue(ca, key, key, "admin", []string{"system:masters"})), ClientKeyData: keyPEM}
	config.Contexts["proa"] = &clientcmdapi.Context{Cluster: "proa", AuthInfo: "admin"}
	config.CurrentContext = "proa"
	if err := clientcmd.WriteToFile(*config, filepath.Join(dir, "kubeconfig")); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-time.After(2 * time.Second):
	}
	memory("after 2 s")
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		memory("after 22 s")
	}
	return <-done
}

func issue(parent *x509.Certificate, signer, key *ecdsa.PrivateKey, name string, groups []string) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: groups},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func encodeKey(k *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// processStart is when the kernel started this process (proc(5), field 22).
func processStart() time.Time {
	stat, _ := os.ReadFile("/proc/self/stat")
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	var ticks int64
	fmt.Sscan(fields[19], &ticks)
	uptime, _ := os.ReadFile("/proc/uptime")
	var up float64
	fmt.Sscan(string(uptime), &up)
	return time.Now().Add(-time.Duration((up - float64(ticks)/100) * float64(time.Second)))
}

func memory(when string) {
	rollup, _ := os.ReadFile("/proc/self/smaps_rollup")
	fmt.Println(when)
	for _, line := range strings.Split(string(rollup), "\n") {
		for _, want := range []string{"Rss:", "Pss:", "Pss_Anon:", "Pss_File:"} {
			if strings.HasPrefix(line, want) {
				fmt.Println("  ", line)
			}
		}
	}
}
