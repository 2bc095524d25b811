using System.Runtime.InteropServices;
using XenDM.Interop.Net;

namespace XenDM.Interop.Tests.Net;

public sealed unsafe class TapLayoutTests
{
    private const string Headers = """
        #include <sys/ioctl.h>
        #include <linux/if.h>
        #include <linux/if_tun.h>
        #include <linux/virtio_net.h>
        """;

    private static int At<T>(string field) => (int)Marshal.OffsetOf<T>(field);

    [CompilerFact("linux/if_tun.h")]
    public void Layouts_AreThoseOfTheHeaders()
    {
        var c = new HeaderCheck(Headers);
        c.Size("struct ifreq", sizeof(Tap.InterfaceRequest));
        c.Offset("struct ifreq", "ifr_flags", At<Tap.InterfaceRequest>(nameof(Tap.InterfaceRequest.Flags)));
        c.Value("IFNAMSIZ", Tap.NameBytes);
        c.Value("IFF_TAP", (int)TapFlags.Tap);
        c.Value("IFF_NO_PI", (int)TapFlags.NoPacketInfo);
        c.Value("IFF_VNET_HDR", (int)TapFlags.VnetHeader);
        c.Value("IFF_MULTI_QUEUE", (int)TapFlags.MultiQueue);
        c.Value("TUN_F_CSUM", (int)TapOffloads.Checksum);
        c.Value("TUN_F_TSO4", (int)TapOffloads.Tcp4);
        c.Value("TUN_F_TSO6", (int)TapOffloads.Tcp6);
        c.Value("TUN_F_TSO_ECN", (int)TapOffloads.TcpEcn);
        c.Value("TUNSETIFF", Tap.SetInterface);
        c.Value("TUNGETFEATURES", Tap.GetFeatures);
        c.Value("TUNSETOFFLOAD", Tap.SetOffloads);
        c.Value("TUNGETIFF", Tap.GetInterface);
        c.Value("TUNSETSNDBUF", Tap.SetSendBuffer);
        c.Value("TUNSETVNETHDRSZ", Tap.SetHeaderSize);
        c.Size("struct virtio_net_hdr", sizeof(VnetHeader));
        c.Offset("struct virtio_net_hdr", "flags", At<VnetHeader>(nameof(VnetHeader.Flags)));
        c.Offset("struct virtio_net_hdr", "gso_type", At<VnetHeader>(nameof(VnetHeader.Segmentation)));
        c.Offset("struct virtio_net_hdr", "hdr_len", At<VnetHeader>(nameof(VnetHeader.HeaderBytes)));
        c.Offset("struct virtio_net_hdr", "gso_size", At<VnetHeader>(nameof(VnetHeader.SegmentBytes)));
        c.Offset("struct virtio_net_hdr", "csum_start", At<VnetHeader>(nameof(VnetHeader.ChecksumStart)));
        c.Offset("struct virtio_net_hdr", "csum_offset", At<VnetHeader>(nameof(VnetHeader.ChecksumOffset)));
        c.Value("VIRTIO_NET_HDR_F_NEEDS_CSUM", VnetHeader.NeedsChecksum);
        c.Value("VIRTIO_NET_HDR_F_DATA_VALID", VnetHeader.DataValid);
        c.Value("VIRTIO_NET_HDR_GSO_TCPV4", VnetHeader.SegmentTcp4);
        c.Value("VIRTIO_NET_HDR_GSO_TCPV6", VnetHeader.SegmentTcp6);
        c.Value("VIRTIO_NET_HDR_GSO_ECN", VnetHeader.SegmentEcn);
        c.Verify();
    }
}
