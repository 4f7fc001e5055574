package meta

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAge(t *testing.T) {
	now := metav1.NewTime(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	for want, age := range map[string]time.Duration{
		"0s": 0, "59s": 59 * time.Second, "2m3s": 123 * time.Second, "15m": 15*time.Minute + time.Second,
		"3h5m": 3*time.Hour + 5*time.Minute, "20h": 20 * time.Hour, "2d3h": 51 * time.Hour, "9d": 9 * 24 * time.Hour,
	} {
		if got := Age(metav1.NewTime(now.Add(-age)), now); got != want {
			t.Errorf("age of %s: %s, want %s", age, got, want)
		}
	}
	if got := Age(metav1.Time{}, now); got != Unknown {
		t.Errorf("age of nothing: %s", got)
	}
	if got := MicroAge(metav1.NewMicroTime(now.Add(-time.Minute)), now); got != "60s" {
		t.Errorf("micro: %s", got)
	}
}

func TestFirstOf(t *testing.T) {
	for _, c := range []struct {
		entries []string
		want    string
	}{
		{nil, ""}, {[]string{"a"}, "a"}, {[]string{"a", "b"}, "a,b"}, {[]string{"a", "b", "c"}, "a,b + 1 more..."},
	} {
		if got := FirstOf(c.entries, 2); got != c.want {
			t.Errorf("%v: %q, want %q", c.entries, got, c.want)
		}
	}
}

func TestContainerCells(t *testing.T) {
	names, images := ContainerCells([]corev1.Container{{Name: "a", Image: "x"}, {Name: "b", Image: "y"}})
	if names != "a,b" || images != "x,y" {
		t.Errorf("%s; %s", names, images)
	}
}
