using System;

namespace XenDM.Core.Backends;

/// <summary>What a side takes undone in the frames that it is given.</summary>
[Flags]
public enum NetOffloads : byte
{
    None = 0,

    /// <summary>TCP and UDP checksums that are not filled in (<see cref="NetFrame.NeedsChecksum"/>).</summary>
    Checksum = 1,

    /// <summary>TCP over IPv4 that is not cut into segments; needs <see cref="Checksum"/>.</summary>
    Tcp4 = 2,

    /// <summary>TCP over IPv6 that is not cut into segments; needs <see cref="Checksum"/>.</summary>
    Tcp6 = 4,
}

/// <summary>How a frame is to be cut into segments.</summary>
public enum NetSegmentation : byte
{
    None = 0,
    Tcp4 = 1,
    Tcp6 = 2,
}

/// <summary>What comes with an Ethernet frame: what its sender left to be done (the fields of struct virtio_net_hdr, linux/virtio_net.h).</summary>
public struct NetFrame
{
    /// <summary>
    /// The checksum over the bytes from <see cref="ChecksumStart"/> to the end is to be put in at <see cref="ChecksumStart"/> +
    /// <see cref="ChecksumOffset"/>; there stands the sum of the pseudo header.
    /// </summary>
    public bool NeedsChecksum;

    /// <summary>The checksums were verified, or never left this host.</summary>
    public bool IsValid;

    public NetSegmentation Segmentation;

    /// <summary>Bytes of TCP payload in a segment, with <see cref="Segmentation"/>.</summary>
    public ushort SegmentBytes;

    /// <summary>Bytes of Ethernet, IP and TCP headers, with <see cref="Segmentation"/>.</summary>
    public ushort HeaderBytes;

    /// <summary>From the start of the frame; 16 bits each. The sender checked that they lie within the frame.</summary>
    public ushort ChecksumStart, ChecksumOffset;
}

/// <summary>
/// The device behind a net backend: an emulated NIC, or the PV backend. All calls come on the loop that the backend works on, and none from inside
/// of a call to the backend (but for <see cref="LinkChanged"/>, from <see cref="INetBackend.IsLinkUp"/>).
/// </summary>
public interface INetFrontend
{
    /// <summary>A frame from outside, without FCS, from 14 bytes to 64 KiB; shorter than 60 bytes is not padded.</summary>
    /// <returns>False when there is no room: the backend keeps the frame, and brings it again after <see cref="INetBackend.ReceiveReady"/>.</returns>
    bool Receive(in NetFrame frame, ReadOnlySpan<byte> bytes);

    /// <summary>After a refused <see cref="INetBackend.Send"/>: there is room again.</summary>
    void SendReady();

    /// <summary>The cable was put in or pulled out.</summary>
    void LinkChanged(bool up);
}

/// <summary>The wire behind a NIC: tap, user-mode NAT, socket. It works on one loop, on whose thread everything here is called.</summary>
public interface INetBackend : IDisposable
{
    /// <summary>The netdev's id, e.g. <c>net0</c>.</summary>
    string Id { get; }

    /// <summary>As <c>info network</c> shows it, e.g. <c>type=tap,ifname=vif5.0-emu</c>.</summary>
    string Description { get; }

    /// <summary>The cable is in. While it is not, nothing is sent and nothing received.</summary>
    bool IsLinkUp { get; set; }

    /// <summary>What the front end takes undone; nothing from the start.</summary>
    NetOffloads ReceiveOffloads { get; set; }

    /// <summary>Who has the net now.</summary>
    INetFrontend? Frontend { get; }

    /// <summary>The board's device at this cable, or none: frames that come meanwhile are lost, as on a cable that ends in the air.</summary>
    void Attach(INetFrontend? frontend);

    /// <summary>The device leaves the board. Nothing happens when the cable belongs to another one.</summary>
    void Detach(INetFrontend frontend);

    /// <summary>
    /// A PV NIC has the net from now on; with none, the device that the board has at this cable by then has it again: it is told of the cable, and may send what was refused.
    /// </summary>
    void Lend(INetFrontend? frontend);

    /// <summary>
    /// Sends a frame, without FCS. What it needs done is done here, or by the host. A frame that makes no sense is dropped, and counted as sent.
    /// </summary>
    /// <returns>False when it has to wait: nothing was sent, and <see cref="INetFrontend.SendReady"/> comes.</returns>
    bool Send(in NetFrame frame, ReadOnlySpan<byte> bytes);

    /// <summary>The front end has room again.</summary>
    void ReceiveReady();
}
