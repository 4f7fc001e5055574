package storage

import (
	"math"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A VolumeAttachment asks a driver to attach a volume to a node.
func volumeAttachments() resource.Resource {
	spec := storagev1.VolumeAttachmentSpec{}.SwaggerDoc()
	attacher := meta.String("Attacher", spec["attacher"])
	attacher.Format = "name"
	return resource.Resource{
		GroupVersion: storagev1.SchemeGroupVersion,
		Name:         "volumeattachments",
		Singular:     "volumeattachment",
		Kind:         "VolumeAttachment",
		New:          func() runtime.Object { return &storagev1.VolumeAttachment{} },
		NewList:      func() runtime.Object { return &storagev1.VolumeAttachmentList{} },
		Default:      meta.Default(defaultVolumeAttachment),
		Check:        meta.Check(checkVolumeAttachment),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(checkVolumeAttachmentUpdate),
			Reset:       [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate: meta.CheckUpdate(checkVolumeAttachmentUpdate),
			Reset:       [][]string{{"metadata"}, {"spec"}},
		}},
		Columns: meta.Table(
			meta.Name(),
			attacher,
			meta.String("PV", storagev1.VolumeAttachmentSource{}.SwaggerDoc()["persistentVolumeName"]),
			meta.String("Node", spec["nodeName"]),
			meta.Boolean("Attached", storagev1.VolumeAttachmentStatus{}.SwaggerDoc()["attached"]),
			meta.Created(),
		),
		Row: meta.Row(func(a *storagev1.VolumeAttachment, now metav1.Time) []any {
			return []any{a.Name, a.Spec.Attacher, meta.Deref(a.Spec.Source.PersistentVolumeName, ""), a.Spec.NodeName, a.Status.Attached, meta.Age(a.CreationTimestamp, now)}
		}),
	}
}

func defaultVolumeAttachment(a *storagev1.VolumeAttachment) {
	if inline := a.Spec.Source.InlineVolumeSpec; inline != nil {
		core.DefaultVolumeSource(&inline.PersistentVolumeSource)
		meta.RoundUp(inline.Capacity)
	}
}

// How much a driver may tell of an attachment.
const (
	longestAttachment = 256 << 10
	longestError      = 1024
)

func checkVolumeAttachment(a *storagev1.VolumeAttachment) field.ErrorList {
	path, status := field.NewPath("spec"), field.NewPath("status")
	errs := meta.Join(
		checkAttacher(path.Child("attacher"), a.Spec.Attacher),
		checkAttached(path.Child("source"), &a.Spec.Source),
		meta.Invalid(path.Child("nodeName"), a.Spec.NodeName, apivalidation.NameIsDNSSubdomain(a.Spec.NodeName, false)),
	)
	if size(a.Status.AttachmentMetadata) > longestAttachment {
		errs = append(errs, field.TooLong(status.Child("attachmentMetadata"), "", longestAttachment))
	}
	errs = append(errs, checkVolumeError(status.Child("attachError"), a.Status.AttachError)...)
	errs = append(errs, checkVolumeError(status.Child("detachError"), a.Status.DetachError)...)
	if name := a.Spec.Source.PersistentVolumeName; name != nil {
		errs = append(errs, meta.Invalid(field.NewPath("spec.source.persistentVolumeName"), *name, apivalidation.NameIsDNSSubdomain(*name, false))...)
	}
	return errs
}

func checkAttached(path *field.Path, s *storagev1.VolumeAttachmentSource) field.ErrorList {
	const one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
	switch inline, name := s.InlineVolumeSpec, s.PersistentVolumeName; {
	case inline == nil && name == nil:
		return field.ErrorList{field.Required(path, one)}
	case inline != nil && name != nil:
		return field.ErrorList{field.Forbidden(path, one)}
	case inline != nil:
		return core.CheckInlineVolume(path.Child("inlineVolumeSpec"), inline)
	case *name == "":
		return field.ErrorList{field.Required(path.Child("persistentVolumeName"), "must specify non empty persistentVolumeName")}
	}
	return nil
}

func checkVolumeError(path *field.Path, e *storagev1.VolumeError) field.ErrorList {
	var errs field.ErrorList
	if e == nil {
		return nil
	}
	if len(e.Message) > longestError {
		errs = append(errs, field.TooLong(path.Child("message"), "", longestError))
	}
	if code := meta.Deref(e.ErrorCode, 0); code < 0 {
		errs = append(errs, field.Invalid(path.Child("errorCode"), code, validation.InclusiveRangeError(0, math.MaxInt32)))
	}
	return errs
}

func checkVolumeAttachmentUpdate(a, old *storagev1.VolumeAttachment) field.ErrorList {
	return append(checkVolumeAttachment(a), meta.Unchanged(field.NewPath("spec"), a.Spec, old.Spec)...)
}

func checkAttacher(path *field.Path, name string) field.ErrorList {
	const longest = 63
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if len(name) > longest {
		errs = append(errs, field.TooLong(path, "", longest))
	}
	return append(errs, meta.Invalid(path, name, content.IsDNS1123SubdomainCaseless(name))...)
}
