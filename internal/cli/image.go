package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/internal/runtime/images"
)

func newImageCommand(where locate) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "image",
		Aliases: []string{"images"},
		Short:   "Import, pull, list and remove the node's images",
		Long: `Import, pull, list and remove the node's images.

With a running server the commands speak to it; without one they work on the
data folder itself, so that images can be there before the first start.`,
	}
	cmd.AddCommand(newImageImport(where), newImagePull(where), newImageList(where), newImageRemove(where))
	return cmd
}

// withImages runs fn with the images of the cluster: those of its running server,
// or else those in its folder.
func withImages(ctx context.Context, where locate, fn func(images.Manager) error) error {
	l, err := where()
	if err != nil {
		return err
	}
	if client, ok := images.Dial(l.ImagesSocket()); ok {
		return fn(client)
	}
	store, err := images.Open(ctx, images.Config{Root: l.Images(), RegistriesConfigPath: l.Registries()})
	if errors.Is(err, images.ErrInUse) {
		return fmt.Errorf("the images in %s are in use, and no server answers on %s: another image command, or a server that is starting", l.Images(), l.ImagesSocket())
	}
	if err != nil {
		return imageAccess(l, err)
	}
	return errors.Join(fn(store), store.Close())
}

func imageAccess(l layout.Layout, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w (the images of %s are root's: use sudo)", err, l.Data)
	}
	return err
}

func newImageImport(where locate) *cobra.Command {
	var opts images.ImportOptions
	cmd := &cobra.Command{
		Use:   "import FILE|FOLDER|-",
		Short: "Bring in images from an archive",
		Long: `Bring in images from an OCI archive, a docker archive ("docker save"), both
also compressed, or a folder that is an OCI layout; - reads standard input.`,
		Example: "  docker save app:1 | proa image import -\n  proa image import app.tar --name registry.example/app:1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			archive, err := openArchive(cmd, args[0])
			if err != nil {
				return err
			}
			defer archive.Close()
			return withImages(cmd.Context(), where, func(m images.Manager) error {
				line := newProgressLine(cmd.ErrOrStderr(), args[0])
				opts.Progress = line.show
				imgs, err := m.Import(cmd.Context(), archive, opts)
				line.end()
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				for _, img := range imgs {
					fmt.Fprintln(cmd.OutOrStdout(), strings.Join(append(img.Tags, img.ID), " "))
				}
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&opts.Names, "name", nil, "name to give the image, instead of the archive's; may be repeated")
	cmd.Flags().StringVar(&opts.Platform, "platform", "", "platform to take from a multi-platform image, like linux/arm64 (default: this machine's)")
	return cmd
}

func openArchive(cmd *cobra.Command, path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return images.OpenArchive(path)
}

func newImagePull(where locate) *cobra.Command {
	var opts images.PullOptions
	var creds string
	cmd := &cobra.Command{
		Use:     "pull NAME",
		Short:   "Bring in an image from its registry",
		Example: "  proa image pull nginx:1.29\n  proa image pull private.example/app --creds user:password",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if creds != "" {
				user, password, ok := strings.Cut(creds, ":")
				if !ok {
					return errors.New("--creds: want user:password")
				}
				opts.Auth = &images.Auth{Username: user, Password: password}
			}
			return withImages(cmd.Context(), where, func(m images.Manager) error {
				line := newProgressLine(cmd.ErrOrStderr(), args[0])
				opts.Progress = line.show
				img, err := m.Pull(cmd.Context(), args[0], opts)
				line.end()
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), img.Ref())
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&creds, "creds", "", "user:password for the registry")
	cmd.Flags().StringVar(&opts.Platform, "platform", "", "platform to take from a multi-platform image, like linux/arm64 (default: this machine's)")
	return cmd
}

func newImageList(where locate) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the node's images",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("--output %q: want json, or nothing for a table", output)
			}
			return withImages(cmd.Context(), where, func(m images.Manager) error {
				all, err := m.List(cmd.Context())
				if err != nil {
					return err
				}
				if output == "json" {
					e := json.NewEncoder(cmd.OutOrStdout())
					e.SetIndent("", "  ")
					return e.Encode(map[string]any{"images": all})
				}
				return printImages(cmd.OutOrStdout(), all, time.Now())
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "output format: json")
	return cmd
}

// printImages prints a row for each tag; one without tags shows its digest.
func printImages(w io.Writer, all []images.Image, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(t, "IMAGE\tTAG\tID\tPLATFORM\tAGE\tSIZE")
	for _, img := range all {
		names := img.Tags
		if len(names) == 0 {
			names = img.Digests
		}
		if len(names) == 0 {
			names = []string{"<none>"}
		}
		for _, name := range names {
			repo, tag := splitTag(name)
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", repo, tag, shortImageID(img.ID), img.Platform, duration.HumanDuration(now.Sub(img.Created)), megabytes(img.Size))
		}
	}
	return t.Flush()
}

// splitTag cuts a full name into its repository and its tag; a digest is no tag.
func splitTag(name string) (repo, tag string) {
	if repo, _, digested := strings.Cut(name, "@"); digested {
		return repo, "<none>"
	}
	at := strings.LastIndex(name, ":")
	if at <= strings.LastIndex(name, "/") {
		return name, "<none>"
	}
	return name[:at], name[at+1:]
}

func shortImageID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 12)]
}

func megabytes(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1fkB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1fMB", float64(n)/1e6)
}

func newImageRemove(where locate) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME|ID...",
		Aliases: []string{"remove"},
		Short:   "Remove images, or one of an image's names",
		Long: `Remove images. A name is taken away from an image that has others, too; with
its last name, or by ID, the image goes. Running containers keep what they use.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImages(cmd.Context(), where, func(m images.Manager) error {
				var errs []error
				for _, ref := range args {
					gone, err := m.Untag(cmd.Context(), ref)
					errs = append(errs, err)
					for _, name := range gone {
						fmt.Fprintln(cmd.OutOrStdout(), "removed", name)
					}
				}
				return errors.Join(errs...)
			})
		},
	}
}

// progressLine shows a pull or an import on one line of a terminal that is
// written over; elsewhere it says nothing.
type progressLine struct {
	w     io.Writer
	what  string
	live  bool
	began time.Time
	shown bool
}

func newProgressLine(w io.Writer, what string) *progressLine {
	f, ok := w.(*os.File)
	live := false
	if ok {
		if fi, err := f.Stat(); err == nil {
			live = fi.Mode()&os.ModeCharDevice != 0
		}
	}
	return &progressLine{w: w, what: what, live: live, began: time.Now()}
}

func (l *progressLine) show(p images.Progress) {
	// Nothing that is over at once is worth a line.
	if !l.live || time.Since(l.began) < quiet {
		return
	}
	l.shown = true
	fmt.Fprintf(l.w, "\r\033[K%s: %s", l.what, progressText(p))
}

func (l *progressLine) end() {
	if l.shown {
		fmt.Fprint(l.w, "\r\033[K")
	}
}

func progressText(p images.Progress) string {
	switch p.Stage {
	case images.Downloading:
		if p.Total == 0 {
			return "downloading"
		}
		return fmt.Sprintf("downloading %s of %s (%d%%)", megabytes(p.Downloaded), megabytes(p.Total), 100*p.Downloaded/p.Total)
	case images.Reading:
		return "reading " + megabytes(p.Downloaded)
	case images.Unpacking:
		return fmt.Sprintf("unpacking, %d of %d layers done", p.Unpacked, p.Layers)
	}
	return string(p.Stage)
}
