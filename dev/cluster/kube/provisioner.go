package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	provisionerName = "edgereel.invalid/dir"
	provisionedBy   = "pv.kubernetes.io/provisioned-by"
	selectedNode    = "volume.kubernetes.io/selected-node"
)

// provisioner makes a "local" PersistentVolume, a plain folder of this machine,
// for every claim of a storage class that names it; it follows a claim that
// grows, and removes volume and folder once the claim is gone. It looks once
// a second: a test cluster is too small for informers to matter.
func provisioner() {
	flags := flag.NewFlagSet("provisioner", flag.ExitOnError) // the common one has CoreDNS's flags
	kubeconfig := flags.String("kubeconfig", "", "cluster to serve")
	root := flags.String("dir", "", "where the volumes' folders go")
	_ = flags.Parse(os.Args[1:]) // exits on error
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	client := kubernetes.NewForConfigOrDie(config)
	for ; ; time.Sleep(time.Second) {
		if err := provisionOnce(context.Background(), client, *root); err != nil {
			fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), err)
		}
	}
}

func provisionOnce(ctx context.Context, client kubernetes.Interface, root string) error {
	all := metav1.ListOptions{}
	listed, err := client.StorageV1().StorageClasses().List(ctx, all)
	if err != nil {
		return err
	}
	classes := map[string]storagev1.StorageClass{}
	for _, class := range listed.Items {
		if class.Provisioner == provisionerName {
			classes[class.Name] = class
		}
	}
	claims, err := client.CoreV1().PersistentVolumeClaims("").List(ctx, all)
	if err != nil {
		return err
	}
	for _, claim := range claims.Items {
		if claim.Spec.StorageClassName == nil {
			continue
		}
		class, ours := classes[*claim.Spec.StorageClassName]
		node := claim.Annotations[selectedNode] // set by the scheduler
		if !ours || claim.DeletionTimestamp != nil {
			continue
		}
		if claim.Status.Phase == corev1.ClaimBound {
			err = grow(ctx, client, claim)
		} else if claim.Spec.VolumeName == "" && node != "" {
			err = create(ctx, client, root, claim, class, node)
		}
		if err != nil {
			return fmt.Errorf("claim %s/%s: %w", claim.Namespace, claim.Name, err)
		}
	}
	volumes, err := client.CoreV1().PersistentVolumes().List(ctx, all)
	if err != nil {
		return err
	}
	for _, volume := range volumes.Items {
		if volume.Annotations[provisionedBy] != provisionerName || volume.Status.Phase != corev1.VolumeReleased ||
			volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
			continue
		}
		if err := os.RemoveAll(volume.Spec.Local.Path); err != nil {
			return err
		}
		if err := client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		fmt.Println("removed", volume.Name)
	}
	return nil
}

func create(ctx context.Context, client kubernetes.Interface, root string, claim corev1.PersistentVolumeClaim, class storagev1.StorageClass, node string) error {
	name := "pvc-" + string(claim.UID)
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil { // whatever the umask is
		return err
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisionerName}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			StorageClassName:              class.Name,
			PersistentVolumeReclaimPolicy: *class.ReclaimPolicy,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: dir}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
			}}}},
		},
	}
	_, err := client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil // made a second ago, not bound yet
	}
	if err == nil {
		fmt.Println("made", name, "for", claim.Namespace+"/"+claim.Name, "on", node)
	}
	return err
}

// grow does what a storage driver's resizer does; a folder needs no resizing.
func grow(ctx context.Context, client kubernetes.Interface, claim corev1.PersistentVolumeClaim) error {
	want := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if want.Cmp(claim.Status.Capacity[corev1.ResourceStorage]) <= 0 {
		return nil
	}
	volume, err := client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	volume.Spec.Capacity[corev1.ResourceStorage] = want
	if _, err := client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{}); err != nil {
		return err
	}
	claim.Status.Capacity[corev1.ResourceStorage] = want
	_, err = client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, &claim, metav1.UpdateOptions{})
	return err
}
