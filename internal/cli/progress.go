package cli

import (
	"fmt"
	"io"
	"time"
)

// quiet is how long something may take before the user is told of it.
const quiet = 500 * time.Millisecond

// slowly does the work, and says what it is when it takes longer than quiet.
func slowly(progress io.Writer, what string, work func() error) error {
	told := time.AfterFunc(quiet, func() { fmt.Fprintf(progress, "%s …\n", what) })
	defer told.Stop()
	return work()
}
