package execute

import (
	"context"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

// pullImage makes sure that an image is there, as its pull policy wants it.
func (e *Executor) pullImage(ctx context.Context, r Request) podlife.Outcome {
	name, err := withTag(r.Action.Image)
	if err != nil {
		return failed("InvalidImageName", fmt.Errorf("Failed to apply default image tag %q: %v", r.Action.Image, err))
	}
	handler, err := e.handler(ctx, r.Pod)
	if err != nil {
		return failed("ErrImagePull", err)
	}
	image := &runtimeapi.ImageSpec{Image: name, Annotations: r.Pod.Annotations, RuntimeHandler: handler}
	policy, err := pullPolicy(r)
	if err != nil {
		return failed("ErrImagePull", err)
	}
	if policy != v1.PullAlways {
		resp, err := e.Images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: image})
		switch {
		case err != nil:
			return failed("ImageInspectError", fmt.Errorf("Failed to inspect image %q: %v", r.Action.Image, message(err)))
		case resp.GetImage() != nil:
			return podlife.Outcome{ImageRef: resp.Image.Id}
		case policy == v1.PullNever:
			out := failed("ErrImageNeverPull", fmt.Errorf("Container image %q is not present with pull policy of Never", r.Action.Image))
			out.Hint = "bring it in with `proa image import`, or let imagePullPolicy be IfNotPresent"
			return out
		}
	}
	return e.pull(ctx, r, image)
}

func (e *Executor) pull(ctx context.Context, r Request, image *runtimeapi.ImageSpec) podlife.Outcome {
	e.Event(r.Pod, podlife.Event{Reason: "Pulling", Container: r.Action.Container, Message: fmt.Sprintf("Pulling image %q", r.Action.Image)})
	begin := e.Clock.Now()
	config, err := e.sandboxConfig(r.Pod, 0)
	if err != nil {
		return failed("ErrImagePull", err)
	}
	try := e.credentials(ctx, r.Pod, image.Image)
	var resp *runtimeapi.PullImageResponse
	for _, c := range append(try.fit, credential{}) { // the last one without a password
		resp, err = e.Images.PullImage(ctx, &runtimeapi.PullImageRequest{Image: image, Auth: c.auth, SandboxConfig: config})
		if err == nil {
			break
		}
	}
	if err != nil {
		e.tellMissing(r.Pod, try.missing)
		out := pullFailed(image.Image, err)
		out.Hint = try.hint(err)
		return out
	}
	took := e.Clock.Since(begin)
	out := podlife.Outcome{ImageRef: resp.ImageRef, Pulled: true, Took: took, Waited: took}
	if status, err := e.Images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: image}); err == nil && status.GetImage() != nil {
		out.ImageRef, out.ImageSize = status.Image.Id, status.Image.Size
	}
	return out
}

// tellMissing: a pull that failed may have done so for want of these secrets.
func (e *Executor) tellMissing(pod *v1.Pod, secrets []string) {
	if len(secrets) > 0 {
		e.Event(pod, podlife.Event{Warning: true, Reason: "FailedToRetrieveImagePullSecret", Message: fmt.Sprintf(
			"Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(secrets, ", "))})
	}
}

// pullFailed: the CRI gives two failures a name, as the start of their text.
func pullFailed(image string, err error) podlife.Outcome {
	text := message(err)
	for reason, what := range map[string]string{
		"RegistryUnavailable":       "the registry is unavailable",
		"SignatureValidationFailed": "the signature validation failed",
	} {
		if rest, ok := strings.CutPrefix(text, reason); ok {
			return failed(reason, fmt.Errorf("image pull failed for %s because %s%s", image, what, rest))
		}
	}
	return failed("ErrImagePull", err)
}

func pullPolicy(r Request) (v1.PullPolicy, error) {
	if r.Action.Volume != "" {
		for _, v := range r.Pod.Spec.Volumes {
			if v.Name == r.Action.Volume && v.Image != nil {
				return v.Image.PullPolicy, nil
			}
		}
		return "", fmt.Errorf("pod has no image volume %q", r.Action.Volume)
	}
	c, err := spec(r.Pod, r.Action.Container)
	if err != nil {
		return "", err
	}
	return c.ImagePullPolicy, nil
}

// withTag completes a name without tag or digest. The short form stays short: it
// is for the runtime to say which registry is meant.
func withTag(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("couldn't parse image name %q: %v", image, err)
	}
	if reference.IsNameOnly(named) {
		return image + ":latest", nil
	}
	return image, nil
}
