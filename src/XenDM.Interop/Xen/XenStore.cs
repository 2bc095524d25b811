using System;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Xen;

/// <summary><c>struct xs_permissions</c>: the first entry of a list names the owner and what everybody else may do.</summary>
/// <param name="Domain">Domain id.</param>
/// <param name="Access">Bit 0 read, bit 1 write.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct XenStorePermission(uint Domain, int Access)
{
    public const int Read = 1;
    public const int Write = 2;
}

/// <summary>
/// libxenstore. Transaction 0 is none. Not for hot paths: every call waits for xenstored. After <see cref="XenToolCore.RestrictAll"/> all calls fail.
/// </summary>
public sealed unsafe partial class XenStore : XenHandle
{
    private const string Library = "libxenstore.so.4";

    /// <summary>Its name up to Xen 4.15, with the same functions.</summary>
    private const string OlderLibrary = "libxenstore.so.3.0";

    /// <summary>XS_UNWATCH_FILTER: events of a watch that was removed are dropped by the library.</summary>
    private const nuint OpenUnwatchFilter = 4;

    private static int s_olderNameIsTried;

    /// <exception cref="XenException">The library is not installed, or xenstored does not answer.</exception>
    public XenStore() => Open(Library, OpenEitherName, "xenstore");

    /// <summary>Readable while a watch event waits. The first use starts a thread of the library that reads from xenstored.</summary>
    public int Fd => xs_fileno(Pointer);

    /// <summary>Text of a node; null when it is not there or may not be read.</summary>
    public string? Read(string path) => Read(path, out var value) < 0 ? null : value;

    /// <summary>Text of a node.</summary>
    /// <returns>0 or the negative errno.</returns>
    public int Read(string path, out string value, uint transaction = 0)
    {
        uint length;
        byte* bytes;
        value = "";
        fixed (byte* p = Utf8.Z(path)) bytes = (byte*)xs_read(Pointer, transaction, p, &length);
        if (bytes == null) return Result(-1);
        value = Encoding.UTF8.GetString(bytes, (int)length);
        LibC.free(bytes);
        return 0;
    }

    /// <returns>0 or the negative errno.</returns>
    public int Write(string path, string value, uint transaction = 0)
    {
        var bytes = Utf8.Z(value);
        fixed (byte* p = Utf8.Z(path), v = bytes)
            return BoolResult(xs_write(Pointer, transaction, p, v, (uint)bytes.Length - 1));
    }

    /// <inheritdoc cref="Write"/>
    public int MakeDirectory(string path, uint transaction = 0)
    {
        fixed (byte* p = Utf8.Z(path)) return BoolResult(xs_mkdir(Pointer, transaction, p));
    }

    /// <summary>Removes a node with all below it.</summary>
    /// <inheritdoc cref="Write"/>
    public int Remove(string path, uint transaction = 0)
    {
        fixed (byte* p = Utf8.Z(path)) return BoolResult(xs_rm(Pointer, transaction, p));
    }

    /// <summary>Names of the nodes below.</summary>
    /// <inheritdoc cref="Write"/>
    public int List(string path, out string[] names, uint transaction = 0)
    {
        uint count;
        byte** list;
        names = [];
        fixed (byte* p = Utf8.Z(path)) list = xs_directory(Pointer, transaction, p, &count);
        if (list == null) return Result(-1);
        names = new string[count];
        for (var i = 0; i < names.Length; i++) names[i] = Utf8.FromZ(list[i]);
        LibC.free(list);
        return 0;
    }

    /// <inheritdoc cref="Write"/>
    public int SetPermissions(string path, ReadOnlySpan<XenStorePermission> permissions, uint transaction = 0)
    {
        fixed (byte* p = Utf8.Z(path))
        fixed (XenStorePermission* list = permissions)
            return BoolResult(xs_set_permissions(Pointer, transaction, p, list, (uint)permissions.Length));
    }

    /// <inheritdoc cref="Write"/>
    public int Permissions(string path, out XenStorePermission[] permissions, uint transaction = 0)
    {
        uint count;
        XenStorePermission* list;
        permissions = [];
        fixed (byte* p = Utf8.Z(path)) list = xs_get_permissions(Pointer, transaction, p, &count);
        if (list == null) return Result(-1);
        permissions = new ReadOnlySpan<XenStorePermission>(list, (int)count).ToArray();
        LibC.free(list);
        return 0;
    }

    /// <summary>Announces every change of a node and below; the first event comes at once.</summary>
    /// <inheritdoc cref="Write"/>
    public int Watch(string path, string token)
    {
        fixed (byte* p = Utf8.Z(path), t = Utf8.Z(token)) return BoolResult(xs_watch(Pointer, p, t));
    }

    /// <inheritdoc cref="Write"/>
    public int Unwatch(string path, string token)
    {
        fixed (byte* p = Utf8.Z(path), t = Utf8.Z(token)) return BoolResult(xs_unwatch(Pointer, p, t));
    }

    /// <summary>The next watch event, without waiting.</summary>
    /// <returns>False when there is none.</returns>
    public bool TryReadWatch(out string path, out string token)
    {
        path = token = "";
        var pair = xs_check_watch(Pointer);
        if (pair == null) return false;
        (path, token) = (Utf8.FromZ(pair[0]), Utf8.FromZ(pair[1]));
        LibC.free(pair);
        return true;
    }

    /// <summary>Home path of a domain, e.g. /local/domain/5; null when there is none.</summary>
    public string? DomainPath(ushort domain)
    {
        var path = xs_get_domain_path(Pointer, domain);
        if (path == null) return null;
        var text = Utf8.FromZ(path);
        LibC.free(path);
        return text;
    }

    /// <inheritdoc cref="Write"/>
    public int StartTransaction(out uint transaction)
    {
        transaction = xs_transaction_start(Pointer);
        return transaction != 0 ? 0 : Result(-1);
    }

    /// <returns>0, -EAGAIN when somebody else changed the same nodes (do it all again), or another negative errno.</returns>
    public int EndTransaction(uint transaction, bool abort) => BoolResult(xs_transaction_end(Pointer, transaction, abort ? (byte)1 : (byte)0));

    protected override bool ReleaseHandle()
    {
        xs_close(handle);
        return true;
    }

    private static nint OpenEitherName()
    {
        try
        {
            return xs_open(OpenUnwatchFilter);
        }
        catch (DllNotFoundException) when (Interlocked.Exchange(ref s_olderNameIsTried, 1) == 0)
        {
            // Only now: a resolver is asked about every library that is loaded after it.
            NativeLibrary.SetDllImportResolver(typeof(XenStore).Assembly, static (name, assembly, search) =>
                name == Library && NativeLibrary.TryLoad(OlderLibrary, assembly, search, out var older) ? older : 0);
            return xs_open(OpenUnwatchFilter);
        }
    }

    private static int BoolResult(byte ok) => ok != 0 ? 0 : Result(-1);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint xs_open(nuint flags);

    [LibraryImport(Library)]
    private static partial void xs_close(nint handle);

    [LibraryImport(Library, SetLastError = true)]
    private static partial void* xs_read(nint handle, uint transaction, byte* path, uint* length);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte xs_write(nint handle, uint transaction, byte* path, void* data, uint length);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte xs_mkdir(nint handle, uint transaction, byte* path);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte xs_rm(nint handle, uint transaction, byte* path);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte** xs_directory(nint handle, uint transaction, byte* path, uint* count);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte xs_set_permissions(nint handle, uint transaction, byte* path, XenStorePermission* list, uint count);

    [LibraryImport(Library, SetLastError = true)]
    private static partial XenStorePermission* xs_get_permissions(nint handle, uint transaction, byte* path, uint* count);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte xs_watch(nint handle, byte* path, byte* token);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte xs_unwatch(nint handle, byte* path, byte* token);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte** xs_check_watch(nint handle);

    [LibraryImport(Library)]
    private static partial int xs_fileno(nint handle);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte* xs_get_domain_path(nint handle, uint domain);

    [LibraryImport(Library, SetLastError = true)]
    private static partial uint xs_transaction_start(nint handle);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte xs_transaction_end(nint handle, uint transaction, byte abort);
}
