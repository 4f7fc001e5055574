package podspec

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func checkEnv(vars []v1.EnvVar, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range vars {
		at := path.Index(i)
		if vars[i].Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else {
			errs = append(errs, meta.Invalid(at.Child("name"), vars[i].Name, validation.IsRelaxedEnvVarName(vars[i].Name))...)
		}
		errs = append(errs, checkEnvSource(&vars[i], at.Child("valueFrom"))...)
	}
	return errs
}

func checkEnvSource(v *v1.EnvVar, at *field.Path) field.ErrorList {
	source := v.ValueFrom
	if source == nil {
		return nil
	}
	// Not exactlyOne: each source that is set is checked, and how many there are is said once.
	var errs field.ErrorList
	count := 0
	if ref := source.FieldRef; ref != nil {
		count++
		errs = append(errs, checkFieldRef(ref, envFields, at.Child("fieldRef"))...)
	}
	if ref := source.ResourceFieldRef; ref != nil {
		count++
		errs = append(errs, checkResourceFieldRef(ref, at.Child("resourceFieldRef"), false)...)
	}
	if ref := source.ConfigMapKeyRef; ref != nil {
		count++
		errs = append(errs, checkKeyRef(ref.Name, ref.Key, at.Child("configMapKeyRef"))...)
	}
	if ref := source.SecretKeyRef; ref != nil {
		count++
		errs = append(errs, checkKeyRef(ref.Name, ref.Key, at.Child("secretKeyRef"))...)
	}
	if ref := source.FileKeyRef; ref != nil {
		count++
		errs = append(errs, checkFileKeyRef(ref, at.Child("fileKeyRef"))...)
	}
	switch {
	case count == 0:
		errs = append(errs, field.Invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
	case v.Value != "":
		errs = append(errs, field.Invalid(at, "", "may not be specified when `value` is not empty"))
	case count > 1:
		errs = append(errs, field.Invalid(at, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func checkKeyRef(name, key string, at *field.Path) field.ErrorList {
	errs := objectName(at.Child("name"), name)
	if key == "" {
		return append(errs, field.Required(at.Child("key"), ""))
	}
	return append(errs, meta.Invalid(at.Child("key"), key, validation.IsConfigMapKey(key))...)
}

func checkFileKeyRef(ref *v1.FileKeySelector, at *field.Path) field.ErrorList {
	key, volume, path := meta.Required(at.Child("key"), ref.Key), meta.Required(at.Child("volumeName"), ref.VolumeName), meta.Required(at.Child("path"), ref.Path)
	if key == nil {
		key = meta.Invalid(at.Child("key"), ref.Key, validation.IsRelaxedEnvVarName(ref.Key))
	}
	if volume == nil {
		volume = meta.DNSLabel(at.Child("volumeName"), ref.VolumeName)
	}
	if path == nil {
		path = noBacksteps(at.Child("path"), ref.Path)
	}
	return meta.Join(key, volume, path)
}

// checkEnvFiles: files of variables are read from the pod's own scratch space only.
func (s *scope) checkEnvFiles() field.ErrorList {
	var errs field.ErrorList
	for c, at := range AllAt(s.spec, s.path) {
		for i, v := range c.Env {
			if v.ValueFrom == nil || v.ValueFrom.FileKeyRef == nil {
				continue
			}
			name := v.ValueFrom.FileKeyRef.VolumeName
			path := at.Child("env").Index(i).Child("valueFrom", "fileKeyRef", "volumeName")
			volume := slices.IndexFunc(s.spec.Volumes, func(v v1.Volume) bool { return v.Name == name })
			if volume < 0 {
				errs = append(errs, field.NotFound(path, name))
			} else if s.spec.Volumes[volume].EmptyDir == nil {
				errs = append(errs, field.Invalid(path, name, "referenced volume must be of type emptyDir"))
			}
		}
	}
	return errs
}

func checkEnvFrom(sources []v1.EnvFromSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, source := range sources {
		at := path.Index(i)
		if source.Prefix != "" {
			errs = append(errs, meta.Invalid(at.Child("prefix"), source.Prefix, validation.IsRelaxedEnvVarName(source.Prefix))...)
		}
		count := 0
		if ref := source.ConfigMapRef; ref != nil {
			count++
			errs = append(errs, checkEnvFromName(ref.Name, at.Child("configMapRef", "name"))...)
		}
		if ref := source.SecretRef; ref != nil {
			count++
			errs = append(errs, checkEnvFromName(ref.Name, at.Child("secretRef", "name"))...)
		}
		// Reported at the list, as the API always has.
		if count == 0 {
			errs = append(errs, field.Invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
		} else if count > 1 {
			errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}

// checkEnvFromName lets a name end in a dash; what it protects from is caught when it is looked up.
func checkEnvFromName(name string, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	return meta.Invalid(at, name, apivalidation.NameIsDNSSubdomain(name, true))
}

// Fields of the pod that its containers may be told, in variables and in files.
var (
	envFields = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	fileFields = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	// podFields is what fieldPath may name at all.
	podFields = append([]string{"metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase", "spec.host"}, envFields...)
)

func checkFieldRef(ref *v1.ObjectFieldSelector, allowed []string, at *field.Path) field.ErrorList {
	if ref.APIVersion == "" {
		return field.ErrorList{field.Required(at.Child("apiVersion"), "")}
	}
	if ref.FieldPath == "" {
		return field.ErrorList{field.Required(at.Child("fieldPath"), "")}
	}
	name, key, hasKey := splitSubscript(ref.FieldPath)
	wrong := ""
	switch {
	case ref.APIVersion != "v1":
		wrong = "unsupported pod version: " + ref.APIVersion
	case hasKey && name != "metadata.annotations" && name != "metadata.labels":
		wrong = "field label does not support subscript: " + ref.FieldPath
	case !hasKey && !slices.Contains(podFields, name):
		wrong = "field label not supported: " + ref.FieldPath
	}
	if wrong != "" {
		return field.ErrorList{field.Invalid(at.Child("fieldPath"), ref.FieldPath, "error converting fieldPath: "+wrong)}
	}
	if name == "spec.host" { // its name before v1
		name = "spec.nodeName"
	}
	switch {
	case name == "metadata.annotations" && hasKey:
		return meta.QualifiedName(at, strings.ToLower(key))
	case name == "metadata.labels" && hasKey:
		return meta.QualifiedName(at, key)
	case !slices.Contains(allowed, name):
		return field.ErrorList{field.NotSupported(at.Child("fieldPath"), name, allowed)}
	}
	return nil
}

// splitSubscript takes "metadata.labels['app']" apart.
func splitSubscript(path string) (name, key string, ok bool) {
	inner, ok := strings.CutSuffix(path, "']")
	if !ok {
		return path, "", false
	}
	name, key, ok = strings.Cut(inner, "['")
	if !ok || name == "" {
		return path, "", false
	}
	return name, key, true
}

var resourceFields = []string{
	"limits.cpu", "limits.ephemeral-storage", "limits.memory",
	"requests.cpu", "requests.ephemeral-storage", "requests.memory",
}

func isHugePagesField(name string) bool {
	return strings.HasPrefix(name, "limits."+v1.ResourceHugePagesPrefix) || strings.HasPrefix(name, "requests."+v1.ResourceHugePagesPrefix)
}

// checkResourceFieldRef: a variable means its own container by default, a file must say which.
func checkResourceFieldRef(ref *v1.ResourceFieldSelector, at *field.Path, file bool) field.ErrorList {
	var errs field.ErrorList
	switch {
	case file && ref.ContainerName == "":
		errs = append(errs, field.Required(at.Child("containerName"), ""))
	case ref.Resource == "":
		errs = append(errs, field.Required(at.Child("resource"), ""))
	case !slices.Contains(resourceFields, ref.Resource) && !isHugePagesField(ref.Resource):
		errs = append(errs, field.NotSupported(at.Child("resource"), ref.Resource, resourceFields))
	}
	return append(errs, checkDivisor(ref, at.Child("divisor"))...)
}

var sizeDivisors = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}

func checkDivisor(ref *v1.ResourceFieldSelector, at *field.Path) field.ErrorList {
	if ref.Divisor.IsZero() {
		return nil
	}
	values, said, of := sizeDivisors, strings.Join(sizeDivisors, ", "), ""
	_, name, _ := strings.Cut(ref.Resource, ".")
	switch {
	case !slices.Contains(resourceFields, ref.Resource) && !isHugePagesField(ref.Resource):
		return nil
	case name == "cpu":
		values, said, of = []string{"1m", "1"}, "1m and 1", "cpu"
	case name == "memory":
		of = "memory"
	case name == "ephemeral-storage":
		of = "local ephemeral storage"
	default:
		of = "hugepages"
	}
	if slices.Contains(values, ref.Divisor.String()) {
		return nil
	}
	return field.ErrorList{field.Invalid(at, ref.Resource, fmt.Sprintf("only divisor's values %s are supported with the %s resource", said, of))}
}
