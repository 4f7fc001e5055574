package apiserver_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/proa-project/proa/internal/apiserver"
	"github.com/proa-project/proa/internal/apiserver/apitest"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const auditRules = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, resources: [{resources: [secrets]}]}
- {level: RequestResponse, namespaces: [default], verbs: [create], resources: [{resources: [configmaps]}]}
- {level: None}
`

func TestAuditLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "a", "audit.log")
	s := apitest.Start(t, func(c *apiserver.Config) {
		c.Audit = apiserver.Audit{PolicyFile: write(t, auditRules), LogFile: log, LogMiB: 100}
	})
	ctx := t.Context()
	meta := metav1.ObjectMeta{Name: "x"}
	if _, err := s.Client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"color": "green"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"k": "hush"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]auditv1.Event{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var e auditv1.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v in %s", err, lines.Bytes())
		}
		if r := e.ObjectRef; r != nil && r.Name == "x" {
			found[r.Resource] = e
		}
	}
	config, secret := found["configmaps"], found["secrets"]
	if config.Level != auditv1.LevelRequestResponse || config.RequestObject == nil || !strings.Contains(string(config.RequestObject.Raw), "green") ||
		config.User.Username != "system:apiserver" || config.ResponseStatus.Code != 201 {
		t.Errorf("of the ConfigMap it is told: %+v", config)
	}
	if secret.Level != auditv1.LevelMetadata || secret.RequestObject != nil || secret.Verb != "create" {
		t.Errorf("of the Secret it is told: %+v", secret)
	}
	if strings.Contains(string(data), "hush") {
		t.Error("the secret is in the log")
	}
}

const encryptionRules = `
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, widgets.example.com]
  providers:
  - secretbox: {keys: [{name: one, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}
  - identity: {}
`

// TestEncryptionAtRest turns it on where there is something already.
func TestEncryptionAtRest(t *testing.T) {
	var store *clientv3.Client
	file := ""
	s := apitest.Start(t, func(c *apiserver.Config) { store, c.EncryptionFile = c.Etcd, file })
	put := func(name string) {
		t.Helper()
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"k": "hush"}}
		if _, err := s.Client.CoreV1().Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	stored := func(name string) []byte {
		t.Helper()
		r, err := store.Get(t.Context(), "/registry/secrets/default/"+name)
		if err != nil || len(r.Kvs) != 1 {
			t.Fatalf("%v, %d values", err, len(r.Kvs))
		}
		return r.Kvs[0].Value
	}
	put("before")
	file = write(t, encryptionRules)
	s.Restart(t)
	put("after")
	if v := stored("after"); !bytes.HasPrefix(v, []byte("k8s:enc:secretbox:v1:one:")) || bytes.Contains(v, []byte("hush")) {
		t.Errorf("stored: %q", v)
	}
	for _, name := range []string{"before", "after"} {
		secret, err := s.Client.CoreV1().Secrets("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || string(secret.Data["k"]) != "hush" {
			t.Errorf("%s: %v, %v", name, secret.Data, err)
		}
		if _, err := s.Client.CoreV1().Secrets("default").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
			t.Error(err)
		}
	}
	if v := stored("before"); !bytes.HasPrefix(v, []byte("k8s:enc:secretbox:v1:one:")) {
		t.Errorf("an update does not encrypt: %q", v)
	}
}
