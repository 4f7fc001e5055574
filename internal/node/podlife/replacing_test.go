package podlife

import "testing"

func TestReplacing(t *testing.T) {
	ended, next := Again{ID: "a", Why: "its image changed"}, &Instance{ID: "b", Attempt: 1, State: Created}
	for name, c := range map[string]struct {
		memory ContainerMemory
		want   bool
	}{
		"runs":                      {ContainerMemory{Last: &Instance{ID: "a", State: Live}}, false},
		"ended by itself":           {ContainerMemory{Last: &Instance{ID: "a", State: Exited}}, false},
		"ended by us":               {ContainerMemory{Last: &Instance{ID: "a", State: Exited}, Again: ended}, true},
		"the next is made":          {ContainerMemory{Last: next, Again: ended}, true},
		"the next runs":             {ContainerMemory{Last: &Instance{ID: "b", State: Live}, Again: ended}, false},
		"the next can't be made":    {ContainerMemory{Last: &Instance{ID: "a", State: Exited}, Again: ended, Waiting: &Waiting{Reason: "ErrImagePull"}}, false},
		"the next can't be started": {ContainerMemory{Last: next, Again: ended, StartFailure: &Waiting{Reason: "RunContainerError"}}, false},
		"a restart is made":         {ContainerMemory{Last: next}, true},
		"the first is made":         {ContainerMemory{Last: &Instance{ID: "a", State: Created}}, false},
		"the next ended by itself":  {ContainerMemory{Last: &Instance{ID: "b", State: Exited}, Again: ended}, false},
	} {
		m := Memory{Containers: map[string]ContainerMemory{"app": c.memory}}
		if got := m.Replacing(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
