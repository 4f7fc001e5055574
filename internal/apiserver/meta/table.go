package meta

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// Cells as kubectl prints them where there is nothing to show.
const (
	None    = "<none>"
	Unset   = "<unset>"
	Unknown = "<unknown>"
)

var objectMeta = metav1.ObjectMeta{}.SwaggerDoc()

// Table lists columns; it only saves the reader a long type name.
func Table(columns ...metav1.TableColumnDefinition) []metav1.TableColumnDefinition { return columns }

// Name is the column that kubectl takes an object's name from.
func Name() metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name", Description: objectMeta["name"]}
}

// Created is the Age column.
func Created() metav1.TableColumnDefinition {
	return String("Age", objectMeta["creationTimestamp"])
}

// String is a column of strings.
func String(name, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "string", Description: description}
}

// Integer is a column of int64 cells.
func Integer(name, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "integer", Description: description}
}

// Boolean is a column of bool cells.
func Boolean(name, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "boolean", Description: description}
}

// Wide marks a column as shown by -o wide only.
func Wide(column metav1.TableColumnDefinition) metav1.TableColumnDefinition {
	column.Priority = 1
	return column
}

// Containers and Images are the wide columns of everything with a pod template.
func Containers() metav1.TableColumnDefinition {
	return String("Containers", "Names of each container in the template.")
}

func Images() metav1.TableColumnDefinition {
	return String("Images", "Images referenced by each container in the template.")
}

// PlainColumns and PlainRow show kinds that have never had a table of their own.
func PlainColumns() []metav1.TableColumnDefinition {
	return Table(Name(), metav1.TableColumnDefinition{Name: "Created At", Type: "date", Description: objectMeta["creationTimestamp"]})
}

func PlainRow(object metav1.Object) []any {
	return []any{object.GetName(), object.GetCreationTimestamp().UTC().Format(time.RFC3339)}
}

// Age is the cell of the Age column.
func Age(created, now metav1.Time) string {
	if created.IsZero() {
		return Unknown
	}
	return duration.HumanDuration(now.Sub(created.Time))
}

// MicroAge is Age of a time with microseconds.
func MicroAge(t metav1.MicroTime, now metav1.Time) string {
	return Age(metav1.Time(t), now)
}

// ContainerCells are the names and images of a template's containers.
func ContainerCells(containers []corev1.Container) (names, images string) {
	ns := make([]string, len(containers))
	is := make([]string, len(containers))
	for i, c := range containers {
		ns[i], is[i] = c.Name, c.Image
	}
	return strings.Join(ns, ","), strings.Join(is, ",")
}

// FirstOf joins the first max entries and says how many were left out; what to
// print for none at all is the caller's.
func FirstOf(entries []string, max int) string {
	if len(entries) <= max {
		return strings.Join(entries, ",")
	}
	return fmt.Sprintf("%s + %d more...", strings.Join(entries[:max], ","), len(entries)-max)
}

// Deref is *p, or otherwise where p is nil.
func Deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// SetDefault points *p to value where it is nil.
func SetDefault[T any](p **T, value T) {
	if *p == nil {
		*p = &value
	}
}
