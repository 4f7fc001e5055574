package podspec

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// file is a path in a volume that is made of API objects, and whose it is where
// there are several.
type file struct{ path, of string }

func (f file) String() string {
	if f.of == "" {
		return fmt.Sprintf("%q", f.path)
	}
	return fmt.Sprintf("%q (%s)", f.path, f.of)
}

// inside reports whether one path is the other, or a folder above it.
func (f file) inside(other file) bool { return strings.HasPrefix(f.path+"/", other.path+"/") }

func keyFiles(items []v1.KeyToPath, of string) []file {
	files := make([]file, len(items))
	for i, item := range items {
		files[i] = file{item.Path, of}
	}
	return files
}

func fieldFiles(items []v1.DownwardAPIVolumeFile, of string) []file {
	files := make([]file, len(items))
	for i, item := range items {
		files[i] = file{item.Path, of}
	}
	return files
}

// virtualPaths: of two files at one path the last wins, and a file can't be a
// folder too; the node would find out only when it fills the volume.
func (w *warner) virtualPaths() {
	for i := range w.spec.Volumes {
		v := &w.spec.Volumes[i]
		if v.ConfigMap != nil {
			w.overlaps(v.Name, fmt.Sprintf("ConfigMap %q", v.ConfigMap.Name), keyFiles(v.ConfigMap.Items, ""))
		}
		if v.Secret != nil {
			w.overlaps(v.Name, fmt.Sprintf("Secret %q", v.Secret.SecretName), keyFiles(v.Secret.Items, ""))
		}
		if v.DownwardAPI != nil {
			w.overlaps(v.Name, "DownwardAPI", fieldFiles(v.DownwardAPI.Items, ""))
		}
		if v.Projected != nil {
			var files []file
			for j := range v.Projected.Sources {
				if v.Projected.Sources[j] == (v1.VolumeProjection{}) {
					w.warnings = append(w.warnings, fmt.Sprintf("volume %q (Projected) has no sources provided", v.Name))
				}
				files = append(files, sourceFiles(&v.Projected.Sources[j])...)
			}
			w.overlaps(v.Name, "Projected", files)
		}
	}
}

func sourceFiles(s *v1.VolumeProjection) []file {
	switch {
	case s.ConfigMap != nil && s.ConfigMap.Items != nil:
		return keyFiles(s.ConfigMap.Items, fmt.Sprintf("ConfigMap %q", s.ConfigMap.Name))
	case s.Secret != nil && s.Secret.Items != nil:
		return keyFiles(s.Secret.Items, fmt.Sprintf("Secret %q", s.Secret.Name))
	case s.DownwardAPI != nil && s.DownwardAPI.Items != nil:
		return fieldFiles(s.DownwardAPI.Items, "DownwardAPI")
	case s.ServiceAccountToken != nil:
		return []file{{s.ServiceAccountToken.Path, "ServiceAccountToken"}}
	case s.ClusterTrustBundle != nil:
		return []file{{s.ClusterTrustBundle.Path, fmt.Sprintf("ClusterTrustBundle %q", bundleName(s.ClusterTrustBundle))}}
	case s.PodCertificate != nil:
		return certificateFiles(s.PodCertificate)
	}
	return nil
}

func bundleName(b *v1.ClusterTrustBundleProjection) string {
	switch {
	case b.Name != nil:
		return *b.Name
	case b.SignerName != nil:
		return *b.SignerName
	}
	return ""
}

func certificateFiles(c *v1.PodCertificateProjection) []file {
	var files []file
	for _, f := range []file{
		{c.CertificateChainPath, "PodCertificate chain"},
		{c.KeyPath, "PodCertificate key"},
		{c.CredentialBundlePath, "PodCertificate credential bundle"},
	} {
		if f.path != "" {
			files = append(files, f)
		}
	}
	return files
}

func (w *warner) overlaps(volume, kind string, files []file) {
	for i := range files {
		f := &files[i]
		f.path = strings.TrimRight(f.path, "/")
		if f.path == "" {
			continue
		}
		for _, other := range files[:i] {
			if other.path != "" && (f.inside(other) || other.inside(*f)) {
				w.warnings = append(w.warnings, fmt.Sprintf("volume %q (%s): overlapping paths: %s with %s", volume, kind, f, other))
			}
		}
	}
}
