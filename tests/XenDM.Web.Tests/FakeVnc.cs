using System;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Web.Tests;

/// <summary>A VNC server's socket, whose connections the test takes itself.</summary>
internal sealed class FakeVnc : IAsyncDisposable
{
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    public FakeVnc(string path)
    {
        _listener.Bind(new UnixDomainSocketEndPoint(path));
        _listener.Listen();
    }

    public async Task<NetworkStream> Accept()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        return new NetworkStream(await _listener.AcceptAsync(limit.Token), ownsSocket: true);
    }

    public ValueTask DisposeAsync()
    {
        _listener.Dispose();
        return ValueTask.CompletedTask;
    }
}
