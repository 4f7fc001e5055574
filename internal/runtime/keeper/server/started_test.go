package server_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/keepertest"
)

// A keeper that ends while it starts a container has told on disk that it would; the
// next one finds out how far it came. Whether the command ran is never in doubt.
func TestKilledInTheMiddleOfAStart(t *testing.T) {
	for name, came := range map[string]func(t *testing.T, fifo string){
		"before the process was let go": func(*testing.T, string) {},
		"after it": func(t *testing.T, fifo string) {
			f, err := os.Open(fifo)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := io.ReadAll(f); err != nil {
				t.Fatal(err)
			}
		},
		"after it and tidying up": func(t *testing.T, fifo string) {
			f, err := os.Open(fifo)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := io.ReadAll(f); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(fifo); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := keepertest.Start(t)
			sb := k.Sandbox(t)
			r := k.Request(t, sb, "c", "sh", "-c", "echo ran; exit 8")
			if _, err := k.Client.Create(bounded(t), r); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(k.RunDir, "keeper")
			state := filepath.Join(dir, "containers", r.ID, "state.json")
			keepertest.Eventually(t, "container prepared", func() bool { return recordOf(t, state)["PID"] != 0.0 })
			crash(t, k, func() {
				record := recordOf(t, state)
				record["Starting"] = true
				status := record["Status"].(map[string]any)
				status["State"], status["PID"] = keeper.Running, record["PID"]
				text, err := json.Marshal(record)
				if err == nil {
					err = os.WriteFile(state, text, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				came(t, filepath.Join(dir, "oci", r.ID, "exec.fifo"))
			})
			if st := wait(t, k, r.ID); st.State != keeper.Exited || st.ExitCode != 8 || st.StartError != "" || st.StartedAt.IsZero() {
				t.Errorf("%+v", st)
			}
			if log := keepertest.ReadLog(t, r.LogPath, "stdout"); log != "ran\n" {
				t.Errorf("its log is %q", log)
			}
		})
	}
}

func recordOf(t *testing.T, file string) (record map[string]any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	if err != nil {
		t.Fatal(err)
	}
	return record
}
