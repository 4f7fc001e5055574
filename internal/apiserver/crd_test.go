package apiserver_test

import (
	"strings"
	"testing"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

const crdYAML = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.sea.example}
spec:
  group: sea.example
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bo]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.sails, statusReplicasPath: .status.sails}}
    additionalPrinterColumns: [{name: Sails, type: integer, jsonPath: .spec.sails}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [sails]
            properties:
              sails: {type: integer, minimum: 1, description: how many sails}
              name: {type: string, default: proa}
            x-kubernetes-validations: [{rule: "self.sails < 10", message: too many sails}]
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
`

const boatYAML = `
apiVersion: sea.example/v1
kind: Boat
metadata: {name: b}
spec: {sails: 2}
`

func TestCustomResources(t *testing.T) {
	s := apitest.Start(t)
	k := newKubectl(t, s)
	k.stdin(crdYAML, "apply", "-f", "-")
	k.run("wait", "--for=condition=Established", "crd/boats.sea.example", "--timeout=10s")
	contains(t, k.stdin(boatYAML, "apply", "-f", "-"), "boat.sea.example/b created")
	contains(t, k.run("get", "bo"), "SAILS", "b      2")
	contains(t, k.run("get", "boat", "b", "-o", "jsonpath={.spec.name}"), "proa")
	contains(t, k.run("explain", "boat.spec.sails"), "how many sails")
	contains(t, k.run("get", "--raw", "/apis"), `"name":"sea.example"`, `"name":"apiextensions.k8s.io"`)
	v2 := k.run("get", "--raw", "/openapi/v2")
	contains(t, v2, "example.sea.v1.Boat", "io.k8s.api.core.v1.Pod")
	if n := strings.Count(v2, `"io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions":`); n != 1 {
		t.Errorf("DeleteOptions is defined %d times", n)
	}
	contains(t, k.run("scale", "boat", "b", "--replicas=3"), "scaled")
	contains(t, k.fails(boatYAML, "patch", "boat", "b", "--type=merge", "-p", `{"spec":{"sails":12}}`), "too many sails")
	contains(t, k.fails(boatYAML, "patch", "boat", "b", "--type=merge", "-p", `{"spec":{"sails":0}}`), "should be greater than or equal to 1")
	contains(t, k.stdin(boatYAML, "apply", "--server-side", "--force-conflicts", "-f", "-"), "serverside-applied")
	contains(t, k.run("delete", "crd", "boats.sea.example"), "deleted")
	contains(t, k.fails("", "get", "boats"), "the server doesn't have a resource type")
}
