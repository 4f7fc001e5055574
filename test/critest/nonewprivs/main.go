// Command nonewprivs tells as whom it runs. In its image it is setuid root, so
// it tells whether a container may gain privileges.
package main

import (
	"fmt"
	"os"
)

func main() { fmt.Printf("Effective uid: %d\n", os.Geteuid()) }
