using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using XenDM.Core.Hypervisor;

namespace XenDM.Monitor.Gdb;

/// <summary>
/// The packets of GDB's remote serial protocol (GDB manual, appendix "Remote Serial Protocol", "Packets" to "General Query Packets") for one
/// client. Threads are the vCPUs, numbered from 1; stopping is all-stop. An unknown packet gets the empty reply, as the protocol has it.
/// </summary>
/// <param name="monitor">Carries out a command for people; null when it is not known.</param>
/// <param name="kill">Ends the machine.</param>
internal sealed class GdbCommands(IDebugTarget target, Func<string, string?> monitor, Action kill)
{
    private const int All = -1, Any = -2;
    private const int SignalInt = 2, SignalTrap = 5;

    private readonly byte[] _data = new byte[GdbSession.MaxPacket / 2];
    private byte[]? _description;
    private DebugStop _last;
    private int _current, _continued;
    private bool _saysSoftware, _saysHardware;

    /// <summary>The client waits for the machine to stop.</summary>
    public bool IsWaiting { get; private set; }

    /// <summary>The client asked for packets without acknowledgements.</summary>
    public bool NoAcknowledgements { get; private set; }

    private static ReadOnlySpan<byte> Ok => "OK"u8;

    private static ReadOnlySpan<byte> BadAddress => "E14"u8;

    /// <summary>Also the answer to a packet that is too long.</summary>
    public static ReadOnlySpan<byte> Invalid => "E22"u8;

    private static ReadOnlySpan<byte> NoRoom => "E28"u8;

    /// <summary>Another client.</summary>
    public void StartAnew()
    {
        IsWaiting = NoAcknowledgements = _saysSoftware = _saysHardware = false;
        _current = 0;
        _continued = All;
        target.PhysicalAddresses = false;
    }

    /// <summary>The client is gone, or leaves: the guest goes on as if there had been none.</summary>
    public void Detach()
    {
        IsWaiting = false;
        target.ClearPoints();
        Resume(DebugAction.Continue, All);
        IsWaiting = false;
    }

    /// <summary>The machine stopped.</summary>
    /// <returns>False when the client does not wait for that.</returns>
    public bool TakeStop(DebugStop stop, ArrayBufferWriter<byte> reply)
    {
        // Who is asked to stop keeps the vCPU that he looks at.
        _last = stop.Reason == DebugReason.Paused ? stop with { Cpu = _current } : stop;
        _current = _last.Cpu;
        if (!IsWaiting) return false;
        IsWaiting = false;
        WriteStop(reply);
        return true;
    }

    /// <summary>The machine ended.</summary>
    /// <inheritdoc cref="TakeStop"/>
    public bool TakeExit(int status, ArrayBufferWriter<byte> reply)
    {
        if (!IsWaiting) return false;
        IsWaiting = false;
        reply.Write("W"u8);
        Hex(reply, [(byte)status]);
        return true;
    }

    /// <returns>False when the reply comes when the machine stops, or never.</returns>
    public bool Execute(ReadOnlySpan<byte> packet, ArrayBufferWriter<byte> reply)
    {
        if (packet.IsEmpty) return true;
        var rest = new GdbReader(packet[1..]);
        switch ((char)packet[0])
        {
            case '?': WriteStop(reply); break;
            case 'g': ReadRegisters(reply); break;
            case 'G': reply.Write(WriteRegisters(rest)); break;
            case 'p': ReadRegister(rest, reply); break;
            case 'P': reply.Write(WriteRegister(rest)); break;
            case 'm': ReadMemory(rest, reply); break;
            case 'M': reply.Write(WriteMemory(rest, isBinary: false)); break;
            case 'X': reply.Write(WriteMemory(rest, isBinary: true)); break;
            case 'Z': reply.Write(SetPoint(rest, on: true)); break;
            case 'z': reply.Write(SetPoint(rest, on: false)); break;
            case 'H': reply.Write(SelectThread(rest)); break;
            case 'T': reply.Write(TryThread(ref rest, out var thread) && rest.AtEnd && thread >= 0 ? Ok : Invalid); break;
            case 'c' or 's' or 'C' or 'S': return GoOn(packet[0], rest, reply);
            case 'v': return Verbose(rest, reply);
            case 'D':
                Detach();
                reply.Write(Ok);
                break;
            case 'k':
                kill();
                return false;
            case 'q' or 'Q': Query(packet, reply); break;
        }

        return true;
    }

    private void WriteStop(ArrayBufferWriter<byte> reply)
    {
        reply.Write("T"u8);
        Hex(reply, [(byte)(_last.Reason == DebugReason.Paused ? SignalInt : SignalTrap)]);
        reply.Write("thread:"u8);
        Number(reply, (ulong)_last.Cpu + 1);
        reply.Write(";"u8);
        if (_last.Reason != DebugReason.Reached) return;
        switch (_last.Point)
        {
            case DebugPoint.SoftwareBreakpoint when _saysSoftware: reply.Write("swbreak:;"u8); break;
            case DebugPoint.HardwareBreakpoint when _saysHardware: reply.Write("hwbreak:;"u8); break;
            case DebugPoint.WriteWatch: WriteWatch(reply, "watch:"u8); break;
            case DebugPoint.ReadWatch: WriteWatch(reply, "rwatch:"u8); break;
            case DebugPoint.AccessWatch: WriteWatch(reply, "awatch:"u8); break;
        }
    }

    private void WriteWatch(ArrayBufferWriter<byte> reply, ReadOnlySpan<byte> name)
    {
        reply.Write(name);
        Number(reply, _last.Address);
        reply.Write(";"u8);
    }

    // Registers.

    private void ReadRegisters(ArrayBufferWriter<byte> reply)
    {
        for (var n = 0; n < target.Registers.Count; n++) WriteValue(reply, n);
    }

    private void ReadRegister(GdbReader packet, ArrayBufferWriter<byte> reply)
    {
        if (packet.TryInt(out var number) && packet.AtEnd && number < target.Registers.Count) WriteValue(reply, number);
        else reply.Write(Invalid);
    }

    private void WriteValue(ArrayBufferWriter<byte> reply, int register)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128LittleEndian(bytes, target.ReadRegister(_current, register));
        Hex(reply, bytes[..target.Registers[register].Bytes]);
    }

    /// <summary>All registers come back; those that have not changed are left alone.</summary>
    private ReadOnlySpan<byte> WriteRegisters(GdbReader packet)
    {
        for (var n = 0; n < target.Registers.Count && !packet.AtEnd; n++)
            if (!SetValue(ref packet, n)) return Invalid;
        return packet.AtEnd ? Ok : Invalid;
    }

    private ReadOnlySpan<byte> WriteRegister(GdbReader packet) =>
        packet.TryInt(out var number) && number < target.Registers.Count && packet.Take('=') && SetValue(ref packet, number) && packet.AtEnd ? Ok : Invalid;

    private bool SetValue(ref GdbReader packet, int register)
    {
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        if (!packet.TryBytes(bytes[..target.Registers[register].Bytes])) return false;
        var value = BinaryPrimitives.ReadUInt128LittleEndian(bytes);
        return value == target.ReadRegister(_current, register) || target.WriteRegister(_current, register, value);
    }

    // Memory.

    /// <summary>The reply may be shorter than what was asked for, where memory ends.</summary>
    private void ReadMemory(GdbReader packet, ArrayBufferWriter<byte> reply)
    {
        if (!packet.TryNumber(out var address) || !packet.Take(',') || !packet.TryInt(out var length) || !packet.AtEnd)
        {
            reply.Write(Invalid);
            return;
        }

        var wanted = _data.AsSpan(0, Math.Min(length, _data.Length));
        var read = target.ReadMemory(_current, address, wanted);
        if (read == 0 && length > 0) reply.Write(BadAddress);
        else Hex(reply, wanted[..read]);
    }

    private ReadOnlySpan<byte> WriteMemory(GdbReader packet, bool isBinary)
    {
        if (!packet.TryNumber(out var address) || !packet.Take(',') || !packet.TryInt(out var length) || !packet.Take(':') || length > GdbSession.MaxPacket) return Invalid;
        if (isBinary)
        {
            Span<byte> raw = stackalloc byte[GdbSession.MaxPacket];
            if (Unescape(packet.Rest, raw) != length) return Invalid;
            return target.WriteMemory(_current, address, raw[..length]) ? Ok : BadAddress;
        }

        if (length > _data.Length || !packet.TryBytes(_data.AsSpan(0, length)) || !packet.AtEnd) return Invalid;
        return target.WriteMemory(_current, address, _data.AsSpan(0, length)) ? Ok : BadAddress;
    }

    /// <summary>Binary data: 7d stands before a byte that was changed by 20.</summary>
    private static int Unescape(ReadOnlySpan<byte> data, Span<byte> raw)
    {
        var count = 0;
        for (var n = 0; n < data.Length; n++)
        {
            var isChanged = data[n] == '}' && n + 1 < data.Length;
            raw[count++] = isChanged ? (byte)(data[++n] ^ 0x20) : data[n];
        }

        return count;
    }

    // Points.

    /// <summary>The kind of a breakpoint says how long its instruction would be, and is not needed.</summary>
    private ReadOnlySpan<byte> SetPoint(GdbReader packet, bool on)
    {
        if (!packet.TryInt(out var type) || !packet.Take(',') || !packet.TryNumber(out var address) || !packet.Take(',') || !packet.TryInt(out var length)) return Invalid;
        if (type > (int)DebugPoint.AccessWatch) return default;
        var point = (DebugPoint)type;
        if (point < DebugPoint.WriteWatch) length = 1;
        if (length < 1 || address > ulong.MaxValue - (uint)length) return Invalid;
        return target.SetPoint(point, address, length, on) ? Ok : NoRoom;
    }

    // Threads.

    /// <param name="cpu">A vCPU, <see cref="All"/> or <see cref="Any"/>.</param>
    private bool TryThread(ref GdbReader packet, out int cpu)
    {
        cpu = All;
        if (packet.Take("-1"u8)) return true;
        if (!packet.TryInt(out var id) || id > target.Cpus) return false;
        cpu = id == 0 ? Any : id - 1;
        return true;
    }

    private ReadOnlySpan<byte> SelectThread(GdbReader packet)
    {
        var forMemory = packet.Take('g');
        if ((!forMemory && !packet.Take('c')) || !TryThread(ref packet, out var cpu) || !packet.AtEnd) return Invalid;
        if (!forMemory) _continued = cpu;
        else if (cpu >= 0) _current = cpu;
        return Ok;
    }

    // Running.

    /// <summary>c and s with an address to go on at; C and S with a signal first, which a CPU has no use for.</summary>
    private bool GoOn(byte verb, GdbReader packet, ArrayBufferWriter<byte> reply)
    {
        if ((verb is (byte)'C' or (byte)'S' && !packet.TryNumber(out _)) || !TakeAddress(verb, ref packet))
        {
            reply.Write(Invalid);
            return true;
        }

        var steps = verb is (byte)'s' or (byte)'S';
        return WasRefused(steps ? Resume(DebugAction.Step, _continued >= 0 ? _continued : _current) : Resume(DebugAction.Continue, All), reply);
    }

    private bool TakeAddress(byte verb, ref GdbReader packet)
    {
        if (packet.AtEnd) return true;
        if (verb is (byte)'C' or (byte)'S' && !packet.Take(';')) return false;
        return packet.TryNumber(out var address) && packet.AtEnd && target.WriteRegister(_current, target.ProgramCounter, address);
    }

    /// <summary>One vCPU, or all, do something; the others run.</summary>
    private bool Resume(DebugAction action, int cpu)
    {
        Span<DebugAction> actions = stackalloc DebugAction[target.Cpus];
        actions.Fill(DebugAction.Continue);
        if (cpu >= 0) actions[cpu] = action;
        return Resume(actions);
    }

    private bool Resume(ReadOnlySpan<DebugAction> actions) => IsWaiting = target.Resume(actions);

    private static bool WasRefused(bool resumed, ArrayBufferWriter<byte> reply)
    {
        if (!resumed) reply.Write(Invalid);
        return !resumed;
    }

    private bool Verbose(GdbReader packet, ArrayBufferWriter<byte> reply)
    {
        if (packet.Take("Cont?"u8)) reply.Write("vCont;c;C;s;S;t"u8);
        else if (packet.Take("Cont"u8)) return Continue(packet, reply);
        else if (packet.Take("Kill"u8))
        {
            reply.Write(Ok);
            kill();
        }

        return true;
    }

    /// <summary>vCont: for each thread the leftmost action that names it; a thread that none names stays where it is.</summary>
    private bool Continue(GdbReader packet, ArrayBufferWriter<byte> reply)
    {
        Span<DebugAction> actions = stackalloc DebugAction[target.Cpus];
        Span<bool> named = stackalloc bool[target.Cpus];
        actions.Clear();
        named.Clear();
        var runs = false;
        while (!packet.AtEnd)
        {
            if (!packet.Take(';') || !TryAction(ref packet, out var action, out var cpu))
            {
                reply.Write(Invalid);
                return true;
            }

            for (var n = 0; n < actions.Length; n++)
            {
                if (named[n] || (cpu >= 0 && cpu != n) || (cpu == Any && n != _current)) continue;
                named[n] = true;
                actions[n] = action;
                runs |= action != DebugAction.Hold;
            }
        }

        if (runs) return WasRefused(Resume(actions), reply);
        WriteStop(reply);
        return true;
    }

    private bool TryAction(ref GdbReader packet, out DebugAction action, out int cpu)
    {
        cpu = All;
        action = DebugAction.Hold;
        if (packet.Take('c')) action = DebugAction.Continue;
        else if (packet.Take('s')) action = DebugAction.Step;
        else if (packet.Take('C')) action = packet.TryNumber(out _) ? DebugAction.Continue : DebugAction.Hold;
        else if (packet.Take('S')) action = packet.TryNumber(out _) ? DebugAction.Step : DebugAction.Hold;
        else if (!packet.Take('t')) return false;
        return !packet.Take(':') || TryThread(ref packet, out cpu);
    }

    // Queries.

    private void Query(ReadOnlySpan<byte> packet, ArrayBufferWriter<byte> reply)
    {
        var rest = new GdbReader(packet);
        if (rest.Take("qSupported"u8)) Supported(rest, reply);
        else if (rest.Take("qXfer:features:read:"u8)) ReadDescription(rest, reply);
        else if (rest.Take("qfThreadInfo"u8)) WriteThreads(reply);
        else if (rest.Take("qsThreadInfo"u8)) reply.Write("l"u8);
        else if (rest.Take("qThreadExtraInfo,"u8)) DescribeThread(rest, reply);
        else if (rest.Take("qRcmd,"u8)) Monitor(rest, reply);
        else if (rest.Take("qAttached"u8)) reply.Write("1"u8);
        else if (rest.Take("qC"u8) && rest.AtEnd)
        {
            reply.Write("QC"u8);
            Number(reply, (ulong)_current + 1);
        }
        else if (rest.Take("QStartNoAckMode"u8))
        {
            NoAcknowledgements = true;
            reply.Write(Ok);
        }

        // QEMU's own: memory by guest physical address.
        else if (rest.Take("qqemu.Supported"u8)) reply.Write("PhyMemMode"u8);
        else if (rest.Take("qqemu.PhyMemMode"u8)) reply.Write(target.PhysicalAddresses ? "1"u8 : "0"u8);
        else if (rest.Take("Qqemu.PhyMemMode:"u8)) reply.Write(SetPhysical(rest));
    }

    private ReadOnlySpan<byte> SetPhysical(GdbReader packet)
    {
        if (!packet.TryInt(out var mode) || mode > 1 || !packet.AtEnd) return Invalid;
        target.PhysicalAddresses = mode != 0;
        return Ok;
    }

    private void Supported(GdbReader packet, ArrayBufferWriter<byte> reply)
    {
        packet.Take(':');
        while (!packet.AtEnd)
        {
            var feature = packet.TakeUpTo((byte)';');
            _saysSoftware |= feature.SequenceEqual("swbreak+"u8);
            _saysHardware |= feature.SequenceEqual("hwbreak+"u8);
        }

        reply.Write("PacketSize="u8);
        Number(reply, GdbSession.MaxPacket);
        reply.Write(";qXfer:features:read+;QStartNoAckMode+;swbreak+;hwbreak+;vContSupported+"u8);
    }

    private void ReadDescription(GdbReader packet, ArrayBufferWriter<byte> reply)
    {
        if (!packet.Take("target.xml:"u8) || !packet.TryInt(out var offset) || !packet.Take(',') || !packet.TryInt(out var length) || !packet.AtEnd)
        {
            reply.Write(Invalid);
            return;
        }

        _description ??= TargetDescription.Make(target);
        var left = _description.AsSpan(Math.Min(offset, _description.Length));
        var part = left[..Math.Min(Math.Min(length, GdbSession.MaxPacket), left.Length)];
        reply.Write(part.Length < left.Length ? "m"u8 : "l"u8);
        reply.Write(part);
    }

    private void WriteThreads(ArrayBufferWriter<byte> reply)
    {
        for (var n = 0; n < target.Cpus; n++)
        {
            reply.Write(n == 0 ? "m"u8 : ","u8);
            Number(reply, (ulong)n + 1);
        }
    }

    private void DescribeThread(GdbReader packet, ArrayBufferWriter<byte> reply)
    {
        if (TryThread(ref packet, out var cpu) && cpu >= 0) Hex(reply, Encoding.ASCII.GetBytes(target.Describe(cpu)));
        else reply.Write(Invalid);
    }

    private void Monitor(GdbReader packet, ArrayBufferWriter<byte> reply)
    {
        var length = packet.Rest.Length / 2;
        if (!packet.TryBytes(_data.AsSpan(0, length)) || !packet.AtEnd)
        {
            reply.Write(Invalid);
            return;
        }

        var command = Encoding.UTF8.GetString(_data.AsSpan(0, length));
        var text = monitor(command) ?? $"'{command}' is not known; help tells the commands\n";
        if (text.Length == 0) reply.Write(Ok);
        else Hex(reply, Encoding.UTF8.GetBytes(text.ReplaceLineEndings("\n")));
    }

    private static void Hex(ArrayBufferWriter<byte> reply, ReadOnlySpan<byte> data)
    {
        var text = reply.GetSpan(data.Length * 2);
        for (var n = 0; n < data.Length; n++) data[n].TryFormat(text[(2 * n)..], out _, "x2");
        reply.Advance(data.Length * 2);
    }

    private static void Number(ArrayBufferWriter<byte> reply, ulong value)
    {
        value.TryFormat(reply.GetSpan(16), out var written, "x");
        reply.Advance(written);
    }
}
