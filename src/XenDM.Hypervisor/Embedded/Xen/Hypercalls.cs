using System;
using System.Buffers.Binary;
using System.Text;
using XenDM.Hypervisor.Embedded.Xen.Events;
using XenDM.Hypervisor.Embedded.Xen.Grants;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>
/// The hypercalls of an HVM guest (xen/public/xen.h, version 4.17; xen/arch/x86/hvm/hypercall.c). Every pointer and count is the guest's: what
/// cannot be read or written fails with EFAULT, lists are worked off until the first entry that fails.
/// </summary>
internal sealed class Hypercalls(XenGuest guest)
{
    private const uint MemoryOp = 12, Multicall = 13, SetTimerOp = 15, XenVersion = 17, ConsoleIo = 18, GrantTableOp = 20, VmAssist = 21, VcpuOp = 24, SchedOp = 29, EventChannelOp = 32,
        PhysdevOp = 33, HvmOp = 34, XenPmuOp = 40;

    private const int MaxConsoleBytes = 4096;

    /// <summary>What an entry of a list of calls counts for, beside the lists that it has itself.</summary>
    private const ulong MulticallWork = 64;

    /// <summary>VMASST_TYPE_runstate_update_flag, the one that an HVM guest has. An update is never seen half done here.</summary>
    private const ulong RunstateUpdateFlag = 5;

    private readonly MemoryOperations _memory = new(guest);
    private readonly VersionOperations _version = new(guest);
    private readonly EventOperations _events = new(guest.Events, guest.DomainId);
    private readonly VcpuOperations _vcpus = new(guest);
    private readonly SchedulerOperations _scheduler = new(guest);
    private readonly HvmOperations _hvm = new(guest);
    private readonly GrantOperations _grants = new(guest);
    private readonly StringBuilder _console = new();

    /// <summary>Carries a call out.</summary>
    /// <param name="number">Of the hypercall.</param>
    /// <returns>What the guest gets: a value, or a negative errno.</returns>
    public long Call(uint number, in HypercallArguments call) => number == Multicall ? CallMany(call) : CallOne(number, call);

    private long CallOne(uint number, in HypercallArguments call) => number switch
    {
        MemoryOp => _memory.Call(call),
        Multicall => -Errno.EINVAL,
        SetTimerOp => _vcpus.SetTimer(call),
        XenVersion => _version.Call(call),
        ConsoleIo => Console(call),
        GrantTableOp => _grants.Call(call),
        VmAssist => call.A2 != RunstateUpdateFlag ? -Errno.EINVAL : call.A1 <= 1 ? 0 : -Errno.ENOSYS,
        VcpuOp => _vcpus.Call(call),
        SchedOp => _scheduler.Call(call),
        EventChannelOp => _events.Call(call),
        HvmOp => _hvm.Call(call),
        XenPmuOp => -Errno.EOPNOTSUPP,
        // platform_op, sysctl, domctl, dm_op, hypfs_op
        7 or 35 or 36 or 41 or 42 => -Errno.EPERM,
        39 => -Errno.EOPNOTSUPP,
        _ => -Errno.ENOSYS,
    };

    /// <summary>A list of calls (multicall_entry): number, result, six arguments.</summary>
    private long CallMany(in HypercallArguments call)
    {
        var count = call.A2;
        if (count > guest.WorkLeft || !guest.TrySpend(count * MulticallWork)) return -Errno.EINVAL;
        var longs = call.LongBytes;
        Span<byte> entry = stackalloc byte[8 * longs];
        for (ulong n = 0; n < count; n++)
        {
            var at = call.A1 + (n * (ulong)entry.Length);
            if (!call.TryRead(at, entry)) return -Errno.EFAULT;
            var one = new HypercallArguments(call.Cpu, call.Is64, call.Long(entry, 2 * longs), call.Long(entry, 3 * longs), call.Long(entry, 4 * longs), call.Long(entry, 5 * longs), call.Long(entry, 6 * longs));
            var result = CallOne((uint)call.Long(entry, 0), one);
            if (call.Is64) BinaryPrimitives.WriteInt64LittleEndian(entry, result);
            else BinaryPrimitives.WriteInt32LittleEndian(entry, (int)result);
            if (!call.TryWrite(at + (ulong)longs, entry[..longs])) return -Errno.EFAULT;
        }

        return 0;
    }

    /// <summary>console_io: the guest's lines in Xen's log.</summary>
    private long Console(in HypercallArguments call)
    {
        if (call.A1 != 0) return -Errno.EPERM;
        var count = (int)Math.Min(call.A2, MaxConsoleBytes);
        Span<byte> text = stackalloc byte[MaxConsoleBytes];
        text = text[..count];
        if (!call.TryRead(call.A3, text)) return -Errno.EFAULT;
        foreach (var letter in text)
        {
            if (letter == '\n' || _console.Length == MaxConsoleBytes)
            {
                if (guest.Log.GuestAllowed) guest.Log.Guest("xen", _console.ToString());
                _console.Clear();
            }

            if (letter is not ((byte)'\n' or (byte)'\r')) _console.Append(letter is >= 0x20 and < 0x7f or (byte)'\t' ? (char)letter : '?');
        }

        return 0;
    }
}
