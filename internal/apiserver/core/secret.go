package core

import (
	"crypto/tls"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A Secret is a ConfigMap for what must not be shown, with types that promise certain keys.
func secrets() resource.Resource {
	docs := corev1.Secret{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "secrets",
		Singular:     "secret",
		Kind:         "Secret",
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.Secret{} },
		NewList:      func() runtime.Object { return &corev1.SecretList{} },
		Default:      meta.Default(defaultSecret),
		Prepare:      meta.Prepare(mergeStringData),
		Check:        meta.Check(checkSecret),
		Warn:         meta.Warn(warnSecret),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(prepareSecretUpdate),
			CheckUpdate:   meta.CheckUpdate(checkSecretUpdate),
			WarnUpdate:    meta.WarnUpdate(func(s, _ *corev1.Secret) []string { return warnSecret(s) }),
			Unconditional: true,
		},
		Fields:  meta.Fields(func(s *corev1.Secret) fields.Set { return fields.Set{"type": string(s.Type)} }),
		Columns: meta.Table(meta.Name(), meta.String("Type", docs["type"]), meta.String("Data", docs["data"]), meta.Created()),
		Row: meta.Row(func(s *corev1.Secret, now metav1.Time) []any {
			return []any{s.Name, string(s.Type), int64(len(s.Data)), meta.Age(s.CreationTimestamp, now)}
		}),
	}
}

// defaultSecret also moves stringData, which is for writing only, into data, so
// that nobody reads or stores it.
func defaultSecret(s *corev1.Secret) {
	if s.Type == "" {
		s.Type = corev1.SecretTypeOpaque
	}
	mergeStringData(s)
}

func mergeStringData(s *corev1.Secret) {
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = map[string][]byte{}
	}
	for key, value := range s.StringData {
		s.Data[key] = []byte(value)
	}
	s.StringData = nil
}

// prepareSecretUpdate keeps the type for clients that never send one.
func prepareSecretUpdate(s, old *corev1.Secret) {
	mergeStringData(s)
	if s.Type == "" {
		s.Type = old.Type
	}
}

// warnSecret tells of a key and a certificate that are none, or not of one another.
func warnSecret(s *corev1.Secret) []string {
	if s.Type != corev1.SecretTypeTLS {
		return nil
	}
	if _, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]); err != nil {
		return []string{err.Error()}
	}
	return nil
}

func checkSecret(s *corev1.Secret) field.ErrorList {
	var errs field.ErrorList
	path, size := field.NewPath("data"), 0
	for _, key := range meta.Sorted(s.Data) {
		errs = append(errs, meta.Invalid(path.Key(key), key, validation.IsConfigMapKey(key))...)
		size += len(s.Data[key])
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(path, "", corev1.MaxSecretSize))
	}
	return append(errs, checkSecretType(path, s)...)
}

// checkSecretType checks the keys that the known types promise; any other type is the user's own.
func checkSecretType(path *field.Path, s *corev1.Secret) field.ErrorList {
	require := func(keys ...string) (errs field.ErrorList) {
		for _, key := range keys {
			if _, ok := s.Data[key]; !ok {
				errs = append(errs, field.Required(path.Key(key), ""))
			}
		}
		return errs
	}
	switch s.Type {
	case corev1.SecretTypeServiceAccountToken:
		if s.Annotations[corev1.ServiceAccountNameKey] == "" {
			return field.ErrorList{field.Required(field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey), "")}
		}
	case corev1.SecretTypeDockercfg:
		return checkSecretJSON(path.Key(corev1.DockerConfigKey), s.Data, corev1.DockerConfigKey)
	case corev1.SecretTypeDockerConfigJson:
		return checkSecretJSON(path.Key(corev1.DockerConfigJsonKey), s.Data, corev1.DockerConfigJsonKey)
	case corev1.SecretTypeBasicAuth: // either will do, and may be empty
		if missing := require(corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey); len(missing) == 2 {
			return missing
		}
	case corev1.SecretTypeSSHAuth:
		if len(s.Data[corev1.SSHAuthPrivateKey]) == 0 {
			return field.ErrorList{field.Required(path.Key(corev1.SSHAuthPrivateKey), "")}
		}
	case corev1.SecretTypeTLS:
		return require(corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	return nil
}

func checkSecretJSON(path *field.Path, data map[string][]byte, key string) field.ErrorList {
	value, ok := data[key]
	if !ok {
		return field.ErrorList{field.Required(path, "")}
	}
	if err := json.Unmarshal(value, &map[string]any{}); err != nil {
		return field.ErrorList{field.Invalid(path, "<secret contents redacted>", err.Error())}
	}
	return nil
}

func checkSecretUpdate(s, old *corev1.Secret) field.ErrorList {
	errs := meta.Unchanged(field.NewPath("type"), s.Type, old.Type)
	if meta.Deref(old.Immutable, false) {
		errs = append(errs, checkStaysImmutable(s.Immutable)...)
		errs = append(errs, checkFrozen("data", s.Data, old.Data)...)
	}
	return append(errs, checkSecret(s)...)
}
