using System;
using System.Buffers.Binary;
using System.Text;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>HYPERVISOR_xen_version (xen/public/version.h). What XSM hides from guests reads "&lt;denied&gt;" here too.</summary>
internal sealed class VersionOperations(XenGuest guest)
{
    /// <summary>4.17, in the form major in 31:16.</summary>
    public const uint Version = 0x0004_0011;
    private const int ExtraVersionBytes = 16, CapabilitiesBytes = 1024, ChangesetBytes = 64;
    private const int CompilerBytes = 64, CompileByBytes = 16, CompileDomainBytes = 32, CompileDateBytes = 32;
    private const string Capabilities = "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ";
    private const string Denied = "<denied>";

    /// <summary>writable page tables, auto-translated physmap, callback vectors, safe clocks, memory_op of virtual nodes, not direct mapped.</summary>
    private const uint Features = 0x1_2305;

    public long Call(in HypercallArguments call)
    {
        switch (call.A1)
        {
            case 0:
                return Version;
            case 1:
                return Texts(call, (".0", ExtraVersionBytes));
            case 2:
                return Texts(call, (Denied, CompilerBytes), (Denied, CompileByBytes), (Denied, CompileDomainBytes), (Denied, CompileDateBytes));
            case 3:
                return Texts(call, (Capabilities, CapabilitiesBytes));
            case 4:
                return Texts(call, (Denied, ChangesetBytes));
            case 5:
                Span<byte> start = stackalloc byte[call.LongBytes];
                start.Clear();
                return call.TryWrite(call.A2, start) ? 0 : -Errno.EFAULT;
            case 6:
                Span<byte> features = stackalloc byte[8];
                if (!call.TryRead(call.A2, features)) return -Errno.EFAULT;
                var index = BinaryPrimitives.ReadUInt32LittleEndian(features);
                if (index > 1) return -Errno.EINVAL;
                BinaryPrimitives.WriteUInt32LittleEndian(features[4..], index == 0 ? Features : 0);
                return call.TryWrite(call.A2, features) ? 0 : -Errno.EFAULT;
            case 7:
                return 4096;
            case 8:
                return call.TryWrite(call.A2, guest.Uuid) ? 0 : -Errno.EFAULT;
            case 9:
                return -Errno.EPERM;
            case 10:
                return -Errno.ENODATA;
            default:
                return -Errno.ENOSYS;
        }
    }

    /// <summary>Fields of text, filled with zeros, one after the other.</summary>
    private static long Texts(in HypercallArguments call, params ReadOnlySpan<(string Text, int Bytes)> fields)
    {
        Span<byte> field = stackalloc byte[CapabilitiesBytes];
        var at = call.A2;
        foreach (var (text, bytes) in fields)
        {
            field.Clear();
            Encoding.ASCII.GetBytes(text, field);
            if (!call.TryWrite(at, field[..bytes])) return -Errno.EFAULT;
            at += (ulong)bytes;
        }

        return 0;
    }
}
