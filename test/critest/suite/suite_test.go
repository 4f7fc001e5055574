// Package suite is critest, the official test program of container runtimes,
// with a digest of our own: the image that one test pulls by digest can't be had
// offline, so that test gets the digest of one that was built here.
package suite

import (
	"flag"
	"fmt"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	_ "sigs.k8s.io/cri-tools/pkg/benchmark"
	"sigs.k8s.io/cri-tools/pkg/framework"
	_ "sigs.k8s.io/cri-tools/pkg/validate"

	_ "unsafe" // for linkname
)

// testImageWithDigest is the suite's reference of the image to pull by digest.
//
//go:linkname testImageWithDigest sigs.k8s.io/cri-tools/pkg/validate.testImageWithDigest
var testImageWithDigest string

var digest = flag.String("image-with-digest", "", "reference of the image that is pulled by digest, instead of the suite's own")

func init() {
	framework.RegisterFlags()
	// After the suite's own callbacks, which set the variable.
	framework.AddBeforeSuiteCallback(func() {
		if *digest != "" {
			testImageWithDigest = *digest
		}
	})
}

func TestCRI(t *testing.T) {
	gomega.RegisterFailHandler(ginkgo.Fail)
	if !ginkgo.RunSpecs(t, "CRI") {
		fmt.Println("see the report for what failed")
	}
}
