package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/heroctl/heroctl/gateway/client"
	heroctlv1 "github.com/heroctl/heroctl/schema/heroctl/v1"
)

func (a *app) newClusterCommand() *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "Look after the server"}
	c.AddCommand(a.newClusterStatus())
	c.AddCommand(newClusterInitCommands(a)...)
	return c
}

var statusView = view[*heroctlv1.ClusterStatus]{
	columns: []string{"CLUSTER", "NODE", "VERSION", "STARTED", "REVISION", "KEYRING", "POLICIES", "POLICY SET", "TRAIL", "DURABILITY"},
	row: func(s *heroctlv1.ClusterStatus) []string {
		digest := s.GetSetDigest()
		return []string{
			s.GetCluster(), s.GetNode(), s.GetVersion(), when(s.GetStarted()), fmt.Sprint(s.GetRevision()), fmt.Sprint(s.GetKeyringVersion()),
			fmt.Sprint(s.GetPolicies()), fmt.Sprintf("%s at revision %d", digest[:min(12, len(digest))], s.GetSetRevision()),
			fmt.Sprintf("%d records", s.GetTrailSize()), s.GetDurability(),
		}
	},
	name: (*heroctlv1.ClusterStatus).GetCluster,
}

func (a *app) newClusterStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the server is", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with("cluster status", func(cl *client.Client) error {
				s, err := cl.Cluster().GetClusterStatus(c.Context(), &heroctlv1.GetClusterStatusRequest{})
				if err != nil {
					return err
				}
				return printOne(a, statusView, s)
			})
		},
	}
}
