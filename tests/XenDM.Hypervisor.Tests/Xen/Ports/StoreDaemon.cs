using System;
using System.Collections.Generic;
using System.IO;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using XenDM.Core.Hypervisor;
using XenDM.Hypervisor.Embedded.Xen.Store;

namespace XenDM.Hypervisor.Tests.Xen.Ports;

/// <summary>A test that needs libxenstore; skipped where it is not installed.</summary>
public sealed class LibXenStoreFactAttribute : FactAttribute
{
    public LibXenStoreFactAttribute()
    {
        if (!StoreDaemon.IsLibraryInstalled) Skip = "libxenstore is not installed: the connection to it is NOT checked";
    }
}

/// <summary>
/// The embedded machine's store behind a socket, as xenstored offers its own (xen/public/io/xs_wire.h): each message has a header of four words (kind,
/// request, transaction, length). The real xenstored does not run without Xen.
/// </summary>
internal sealed partial class StoreDaemon : IDisposable
{
    private const int HeaderBytes = 16;
    private readonly string _folder = Directory.CreateTempSubdirectory("xenstore").FullName;
    private readonly XenStore _store = new();
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly List<Socket> _clients = [];
    private readonly List<Action> _sendEvents = [];

    public StoreDaemon()
    {
        _listener.Bind(new UnixDomainSocketEndPoint(SocketPath));
        _listener.Listen();
        new Thread(Accept) { IsBackground = true }.Start();
    }

    public static bool IsLibraryInstalled { get; } = NativeLibrary.TryLoad("libxenstore.so.4", out _);

    private string SocketPath => Path.Combine(_folder, "socket");

    /// <summary>Runs what opens a connection. libxenstore asks the C library's environment, which .NET does not change.</summary>
    public T Opening<T>(Func<T> open)
    {
        Assert.Equal(0, setenv("XENSTORED_PATH", SocketPath, 1));
        try
        {
            return open();
        }
        finally
        {
            Assert.Equal(0, unsetenv("XENSTORED_PATH"));
        }
    }

    public void Dispose()
    {
        _listener.Dispose();
        lock (_store)
            foreach (var client in _clients) client.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private void Accept()
    {
        try
        {
            while (true)
            {
                var client = _listener.Accept();
                lock (_store) _clients.Add(client);
                new Thread(() => Serve(client)) { IsBackground = true }.Start();
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
        }
    }

    private void Serve(Socket client)
    {
        var requests = new StoreRequests(_store, 0);
        Action sendEvents = () =>
        {
            while (requests.TryTakeEvent(out var payload)) Send(client, [(uint)StoreRequestKind.WatchEvent, 0, 0], payload);
        };
        try
        {
            using var stream = new NetworkStream(client);
            var header = new byte[HeaderBytes];
            lock (_store) _sendEvents.Add(sendEvents);
            while (true)
            {
                stream.ReadExactly(header);
                var words = MemoryMarshal.Cast<byte, uint>(header);
                var (kind, request, transaction) = (words[0], words[1], words[2]);
                var payload = new byte[words[3]];
                stream.ReadExactly(payload);
                lock (_store)
                {
                    byte[] reply;
                    try
                    {
                        reply = requests.Carry((StoreRequestKind)kind, transaction, payload);
                    }
                    catch (StoreException e)
                    {
                        (kind, reply) = ((uint)StoreRequestKind.Error, Encoding.ASCII.GetBytes(e.Error + '\0'));
                    }

                    Send(client, [kind, request, transaction], reply);
                    foreach (var send in _sendEvents) send();
                }
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            lock (_store)
            {
                _sendEvents.Remove(sendEvents);
                requests.Reset();
            }
        }
    }

    private static void Send(Socket client, ReadOnlySpan<uint> words, byte[] payload) =>
        client.Send([.. MemoryMarshal.AsBytes(words), .. BitConverter.GetBytes((uint)payload.Length), .. payload]);

    [LibraryImport("libc.so.6", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int setenv(string name, string value, int overwrite);

    [LibraryImport("libc.so.6", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int unsetenv(string name);
}
