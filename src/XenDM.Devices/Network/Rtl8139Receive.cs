using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.State;
using XenDM.Core.Time;
using static XenDM.Devices.Network.Ethernet;

namespace XenDM.Devices.Network;

/// <summary>
/// The receiver of the RTL8139C+: filters, and then either the ring buffer of the RTL8139 (C mode: a header of status and length, the frame,
/// its checksum, up to a multiple of four) or a ring of descriptors (C+ mode). Data sheet: RealTek RTL8139C(L)+ 1.6, sections 6.9, 9.2.
/// </summary>
internal sealed class Rtl8139Receive : IStateful
{
    /// <summary>CAPR stands 16 bytes before the place where the driver reads on.</summary>
    public const ushort CaprInitial = 0xfff0;
    private const int CaprLead = 16;

    private const uint RcrAll = 1 << 0;
    private const uint RcrOwn = 1 << 1;
    private const uint RcrMulticast = 1 << 2;
    private const uint RcrBroadcast = 1 << 3;
    private const uint RcrWrap = 1 << 7;

    private const ushort StatusOk = 1 << 0;
    private const ushort StatusBroadcast = 1 << 13;
    private const ushort StatusOwn = 1 << 14;
    private const ushort StatusMulticast = 1 << 15;
    private const int HeaderBytes = 4;

    private const int DescriptorBytes = 16;
    private const uint DescriptorOwn = 1u << 31;
    private const uint DescriptorEnd = 1 << 30;
    private const uint DescriptorFirst = 1 << 29;
    private const uint DescriptorLast = 1 << 28;
    private const uint DescriptorSize = 0x1fff;
    private const uint DescriptorMulticast = 1 << 26;
    private const uint DescriptorOurs = 1 << 25;
    private const uint DescriptorBroadcast = 1 << 24;
    private const uint DescriptorTcp = 1 << 16;
    private const uint DescriptorUdp = 2 << 16;
    private const uint DescriptorIp = 3 << 16;
    private const uint DescriptorIpFailed = 1 << 15;
    private const uint DescriptorUdpFailed = 1 << 14;
    private const uint DescriptorTcpFailed = 1 << 13;
    private const uint DescriptorTagged = 1 << 16;
    private const int MaxDescriptors = 64;

    /// <summary>A ring without an end bit ends here.</summary>
    private const int RingLength = 64;

    private const int MaxFrame = 4096 - FcsBytes;

    /// <summary>Descriptors have no doorbell, and a driver may need another call: while frames wait they are offered again, later each time; then they are missed.</summary>
    private const long FirstRetry = 1_000_000;
    private const int MaxRetries = 7;

    private readonly Rtl8139 _chip;
    private readonly INetBackend? _backend;
    private readonly VmTimer _retry;
    [Glue("a frame on its way")]
    private readonly byte[] _buffer = new byte[HeaderBytes + MaxFrame + FcsBytes + HeaderBytes];
    [Glue("a fresh backend offers its frames by itself")]
    private bool _backendWaits;
    [Glue("how long the backend waits already")]
    private int _retries;
    private int _index;
    private ulong _ok;
    private ulong _okOurs;
    private ulong _okBroadcast;
    private uint _okMulticast;
    private ushort _missed;

    public Rtl8139Receive(Rtl8139 chip, INetBackend? backend, IVmClock clock)
    {
        _chip = chip;
        _backend = backend;
        _retry = clock.CreateTimer(chip.Id + ".rx", Offer);
    }

    /// <summary>The driver read all that is in the ring buffer.</summary>
    public bool IsEmpty => (ushort)(_chip.Capr + CaprLead) % RingBytes == _chip.Cbr % RingBytes;

    private int RingBytes => 8192 << ((int)(_chip.Rcr >> 11) & 3);

    /// <summary>There may be room again, or nobody listens any more: the backend brings what it keeps.</summary>
    public void Offer()
    {
        if (!_backendWaits || _backend is null) return;
        _backendWaits = false;
        _backend.ReceiveReady();
    }

    /// <inheritdoc cref="INetFrontend.Receive"/>
    public bool FromOutside(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        if (_chip.IsLooped || !_chip.IsLinkUp || Take(frame, bytes))
        {
            if (_retry.IsArmed && _retries == 0) _retry.Cancel();
            return true;
        }

        _backendWaits = true;
        if (!_retry.IsArmed) _retry.ArmAfter(FirstRetry << _retries++);
        return false;
    }

    /// <summary>A frame arrives.</summary>
    /// <returns>False when there is no room for it now. A frame that the filters throw away, or that can never fit, is taken.</returns>
    public bool Take(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        if ((_chip.Cr & Rtl8139.CrReceive) == 0 || !_chip.Memory.Enabled || bytes.Length is < EthernetHeader or > MaxFrame) return true;
        var kind = Filter(bytes);
        if (kind == 0) return true;
        var taken = _chip.IsPlusReceive ? TakePlus(frame, bytes, kind) : TakeOld(bytes, kind);
        if (taken) _retries = 0;
        else if (_retries > MaxRetries || RingCannotHold(bytes.Length))
        {
            _chip.Raise(Rtl8139.IsrNoReceive);
            _chip.Mpc = (_chip.Mpc + 1) & 0xff_ffff;
            if (_missed != ushort.MaxValue) _missed++;
            return true;
        }

        return taken;
    }

    private bool RingCannotHold(int length) => !_chip.IsPlusReceive && Padded(length) >= RingBytes;

    private static int Padded(int length) => (HeaderBytes + Math.Max(MinFrame, length) + FcsBytes + 3) & ~3;

    /// <summary>The filters of RCR.</summary>
    /// <returns>What the frame is, as bits of the header's status; 0 when nobody wants it.</returns>
    private ushort Filter(ReadOnlySpan<byte> frame)
    {
        var rcr = _chip.Rcr;
        if ((frame[0] & 1) == 0)
        {
            var (low, high) = _chip.Address;
            var isOurs = BinaryPrimitives.ReadUInt32LittleEndian(frame) == low && BinaryPrimitives.ReadUInt16LittleEndian(frame[4..]) == high;
            if (isOurs && (rcr & (RcrOwn | RcrAll)) != 0) return StatusOwn | StatusOk;
            return (rcr & RcrAll) != 0 ? StatusOk : (ushort)0;
        }

        if (IsBroadcast(frame)) return (rcr & RcrBroadcast) != 0 ? (ushort)(StatusBroadcast | StatusOk) : (ushort)0;
        if ((rcr & RcrMulticast) == 0) return 0;

        // The upper six bits of the address' CRC.
        var bit = (int)(EthernetCrc.Hash(frame[..6]) >> 26);
        return ((bit < 32 ? _chip.Mar0 : _chip.Mar4) & (1u << (bit & 31))) != 0 ? (ushort)(StatusMulticast | StatusOk) : (ushort)0;
    }

    /// <summary>C mode. With WRAP a frame that reaches the end goes on behind it; without, it goes on at the start.</summary>
    private bool TakeOld(ReadOnlySpan<byte> bytes, ushort kind)
    {
        var ring = RingBytes;
        var length = Math.Max(MinFrame, bytes.Length);
        var total = Padded(bytes.Length);
        var at = _chip.Cbr % ring;
        var free = (((ushort)(_chip.Capr + CaprLead) - at) % ring + ring) % ring;
        if (free != 0 && total >= free || total >= ring)
        {
            // Drivers acknowledge behind the last frame that they take, and so lose sight of what came meanwhile: they are told again.
            _chip.Raise(Rtl8139.IsrReceived);
            return false;
        }

        var data = _buffer.AsSpan(0, total);
        data.Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(data, kind);
        BinaryPrimitives.WriteUInt16LittleEndian(data[2..], (ushort)(length + FcsBytes));
        bytes.CopyTo(data[HeaderBytes..]);
        BinaryPrimitives.WriteUInt32LittleEndian(data[(HeaderBytes + length)..], EthernetCrc.Compute(data.Slice(HeaderBytes, length)));
        var start = (ulong)_chip.Rbstart;
        var room = ring - at;
        if (total <= room || ((_chip.Rcr & RcrWrap) != 0 && ring < 65536))
        {
            _chip.Memory.TryWrite(start + (uint)at, data);
        }
        else
        {
            _chip.Memory.TryWrite(start + (uint)at, data[..room]);
            _chip.Memory.TryWrite(start, data[room..]);
        }

        _chip.Cbr = (ushort)((at + total) % ring);
        Count(kind);
        _chip.Raise(Rtl8139.IsrReceived);
        return true;
    }

    /// <summary>C+ mode: as many descriptors as the frame needs, all of them ours before the first is touched.</summary>
    private bool TakePlus(in NetFrame frame, ReadOnlySpan<byte> bytes, ushort kind)
    {
        var strips = (_chip.Cpcr & Rtl8139.PlusVlan) != 0 && bytes.Length >= EthernetHeader + TagBytes && bytes[Addresses] == 0x81 && bytes[Addresses + 1] == 0;
        var length = Math.Max(MinFrame, bytes.Length) - (strips ? TagBytes : 0);
        var total = length + FcsBytes;
        if (!FindRoom(total))
        {
            _chip.Raise(Rtl8139.IsrNoReceive);
            return false;
        }

        var data = _buffer.AsSpan(0, total);
        uint tag = 0;
        if (strips)
        {
            // The tag stands in the descriptor in the order of the wire.
            tag = DescriptorTagged | BinaryPrimitives.ReadUInt16LittleEndian(bytes[EthernetHeader..]);
            bytes[..Addresses].CopyTo(data);
            bytes[(Addresses + TagBytes)..].CopyTo(data[Addresses..]);
            data[(bytes.Length - TagBytes)..length].Clear();
        }
        else
        {
            bytes.CopyTo(data);
            data[bytes.Length..length].Clear();
        }

        BinaryPrimitives.WriteUInt32LittleEndian(data[length..], strips ? EthernetCrc.ComputeTagged(data[..length], bytes.Slice(Addresses, TagBytes)) : EthernetCrc.Compute(data[..length]));
        var status = (kind & StatusBroadcast) != 0 ? DescriptorBroadcast : (kind & StatusMulticast) != 0 ? DescriptorMulticast : (kind & StatusOwn) != 0 ? DescriptorOurs : 0;
        if ((_chip.Cpcr & Rtl8139.PlusChecksum) != 0) status |= Check(frame, data[..length]);
        Store(data, status, tag);
        Count(kind);
        _chip.Raise(Rtl8139.IsrReceived);
        return true;
    }

    private ulong Place(int index) => (((ulong)_chip.Rdsarh << 32) | _chip.Rdsar) + (ulong)(index * DescriptorBytes);

    private bool FindRoom(int bytes)
    {
        Span<byte> word = stackalloc byte[4];
        var index = _index;
        for (var n = 0; n < MaxDescriptors && bytes > 0; n++)
        {
            if (!_chip.Memory.TryRead(Place(index), word)) return false;
            var options = BinaryPrimitives.ReadUInt32LittleEndian(word);
            if ((options & DescriptorOwn) == 0 || (n > 0 && index == _index)) return false;
            bytes -= (int)(options & DescriptorSize);
            index = Next(index, options);
        }

        return bytes <= 0;
    }

    private void Store(ReadOnlySpan<byte> data, uint status, uint tag)
    {
        Span<byte> descriptor = stackalloc byte[DescriptorBytes];
        var first = DescriptorFirst;
        var total = data.Length;
        for (var n = 0; n < MaxDescriptors && data.Length > 0; n++)
        {
            var place = Place(_index);
            _chip.Memory.TryRead(place, descriptor);
            var options = BinaryPrimitives.ReadUInt32LittleEndian(descriptor);
            var piece = data[..Math.Min(data.Length, (int)(options & DescriptorSize))];
            data = data[piece.Length..];
            _chip.Memory.TryWrite(BinaryPrimitives.ReadUInt64LittleEndian(descriptor[8..]), piece);

            // The last one tells the length of the whole frame.
            var isLast = data.Length == 0;
            var length = isLast ? total : piece.Length;
            BinaryPrimitives.WriteUInt32LittleEndian(descriptor, (options & DescriptorEnd) | first | (isLast ? DescriptorLast | status : 0) | (uint)length);
            BinaryPrimitives.WriteUInt32LittleEndian(descriptor[4..], tag);
            _chip.Memory.TryWrite(place + 4, descriptor.Slice(4, 4));
            _chip.Memory.TryWrite(place, descriptor[..4]);
            _index = Next(_index, options);
            first = 0;
        }
    }

    private static int Next(int index, uint options) => (options & DescriptorEnd) != 0 || index + 1 >= RingLength ? 0 : index + 1;

    /// <summary>What the chip found out about IPv4, TCP and UDP.</summary>
    private static uint Check(in NetFrame frame, ReadOnlySpan<byte> data)
    {
        if (BinaryPrimitives.ReadUInt16BigEndian(data[Addresses..]) != 0x0800) return 0;
        var ip = data[EthernetHeader..];
        var header = (ip[0] & 0xf) * 4;
        var length = (int)BinaryPrimitives.ReadUInt16BigEndian(ip[2..]);
        if (ip[0] >> 4 != 4 || header < 20 || length < header || length > ip.Length) return 0;
        var result = NetChecksum.Sum(ip[..header]) == 0xffff ? 0 : DescriptorIpFailed;
        var body = ip[header..length];
        var isFragment = (ip[6] & 0x3f) != 0 || ip[7] != 0;
        var isTcp = ip[9] == NetHeaders.Tcp && body.Length >= 20;
        var isUdp = ip[9] == NetHeaders.Udp && body.Length >= 8;
        if (isFragment || (!isTcp && !isUdp)) return result | DescriptorIp;
        result |= isTcp ? DescriptorTcp : DescriptorUdp;
        if (frame.IsValid || (isUdp && (body[6] | body[7]) == 0)) return result;
        if (NetChecksum.Fold(NetChecksum.Add(NetChecksum.PseudoSum(ip, false, ip[9], body.Length), body)) == 0xffff) return result;
        return result | (isTcp ? DescriptorTcpFailed : DescriptorUdpFailed);
    }

    private void Count(ushort kind)
    {
        _ok++;
        if ((kind & StatusBroadcast) != 0) _okBroadcast++;
        else if ((kind & StatusMulticast) != 0) _okMulticast++;
        else _okOurs++;
    }

    /// <summary>Its part of the tally counters (section 6.4).</summary>
    public void WriteTally(Span<byte> tally)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(tally[8..], _ok);
        BinaryPrimitives.WriteUInt16LittleEndian(tally[28..], _missed);
        BinaryPrimitives.WriteUInt64LittleEndian(tally[40..], _okOurs);
        BinaryPrimitives.WriteUInt64LittleEndian(tally[48..], _okBroadcast);
        BinaryPrimitives.WriteUInt32LittleEndian(tally[56..], _okMulticast);
    }

    public void ClearTally()
    {
        _ok = _okOurs = _okBroadcast = 0;
        _okMulticast = 0;
        _missed = 0;
    }

    /// <summary>CR.RE changed: the buffer is empty, and the ring begins anew.</summary>
    public void Enabled()
    {
        _index = 0;
        _retries = 0;
        if ((_chip.Cr & Rtl8139.CrReceive) != 0)
        {
            _chip.Cbr = 0;
            _chip.Capr = CaprInitial;
        }

        Offer();
    }

    /// <summary>RDSAR was written.</summary>
    public void RingWritten()
    {
        _index = 0;
        _retries = 0;
    }

    public void Stop()
    {
        _index = 0;
        _retries = 0;
        _retry.Cancel();
    }

    public void State(StateVisitor s)
    {
        s.I32("index", ref _index, 0, RingLength - 1);
        s.U64("ok", ref _ok);
        s.U64("ok.ours", ref _okOurs);
        s.U64("ok.broadcast", ref _okBroadcast);
        s.U32("ok.multicast", ref _okMulticast);
        s.U16("missed", ref _missed);
    }
}
